# Read with `.` by bash: puts the programs of this bundle on PATH. Pulumi asks for no updates and fetches no plugins.
bundle=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export PATH="$bundle/bin:$PATH:$bundle/lib" # lib last: its go is for machines that have none
export PULUMI_HOME="$bundle/home" PULUMI_SKIP_UPDATE_CHECK=true PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION=true
