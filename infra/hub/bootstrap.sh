# Brings into the stock hub image of zero-to-jupyterhub what it lacks: the client. Runs before the hub, in the hub's own image,
# as the hub's user and without a capability; writes to a volume that the hub mounts too, and to /tmp.
#
#   sh -c "$(cat bootstrap.sh)" bootstrap DEST "PACKAGE==VERSION --hash=..."...
#
# The hub finds what is in DEST by PYTHONUSERBASE=DEST. A step that fails ends the pod's start, with a line that says which: a
# hub without these parts would start and fail at each server.
set -eu
dest=$1
shift
export PYTHONUSERBASE="$dest"

lists=$(mktemp -d)
step="asking pip what the image has"
trap 'status=$?; rm -rf "$lists"; [ $status = 0 ] || echo "bootstrap: $step did not work, so the hub does not start. See the lines above. Where the pod has no way out,
bootstrap: use a hub image that has the client: images/hub of this project is a recipe." >&2' EXIT

# Everything the image has stays at its version: pip must not bring another JupyterHub along. Everything else is a file with
# a hash that was recorded beforehand: what the index answers at the hub's start decides nothing.
python3 -m pip freeze --all > "$lists/constraints.txt"
sed 's/[ =@].*//' "$lists/constraints.txt" | tr 'A-Z_.' 'a-z--' > "$lists/present.txt"
missing=
: > "$lists/requirements.txt"
for requirement; do
  grep -qxF "${requirement%%==*}" "$lists/present.txt" && continue
  missing="$missing ${requirement%% *}"
  echo "$requirement" >> "$lists/requirements.txt"
done
if [ -n "$missing" ]; then
  step="installing$missing from the Python package index"
  python3 -m pip install --user --no-cache-dir --disable-pip-version-check --no-warn-script-location \
    --require-hashes --only-binary :all: --constraint "$lists/constraints.txt" --requirement "$lists/requirements.txt"
fi

step="importing the client"
python3 -c 'import outpostspawner; print("client", outpostspawner.__version__)'
