"""Records what python-slugify makes of display names of profiles, as KubeSpawner calls it, into slugify-vectors.json.gz.

Run once, with what KubeSpawner 7.1.0 installs from PyPI:

    python3 -m venv venv && venv/bin/pip install jupyterhub-kubespawner==7.1.0
    venv/bin/python slugify-vectors.py
"""

import gzip
import json
import sys
import unicodedata
from importlib.metadata import version
from pathlib import Path

from slugify import slugify

# What sites write, and what the rules of the package are about: quotes, commas, entities, widths, symbols.
WRITTEN = """
1,000 GB RAM|4 CPU, 16 GB|Tiny. Useful for many quick things|Small: 2 - 4 GB|Shared: up to 3.7 CPU / 14 GB RAM
NVIDIA Tesla T4, ~16 GB, ~4 CPUs|Base (no GPU)|Large 60GB - 8vCPU|m5.2xlarge|n1-highmem-4|R & Bioconductor
Data8's notebook|Datascience's "big" one|L'environnement|D’Alembert|‘quoted’|“double”|Rock ’n’ Roll|''''|it''s
Größe|Straße 5 €|Étudiants|Çalışma|Łódź|Ærøskøbing|þing|Ðuro|Œuvre|ﬁnal|ﬀ|Ⅻ|½ CPU|¼ GPU|5 µm|Å|ÅNGSTRÖM|№ 5
Привет мир|Объём памяти|Въезд|Ёлка|Єва|Щука|Київ|Ґанок|Ђорђе|日本語|中文 环境|データ サイエンス|しつち|シツチ|っつ|한국어 환경
ไทย|עברית|שָׁלוֹם|العربية|فارسی|हिन्दी|বাংলা|தமிழ்|తెలుగు|ಕನ್ನಡ|മലയാളം|සිංහල|ქართული|Հայերեն|አማርኛ|ខ្មែរ|ລາວ|မြန်မာ
&amp;|R &amp; Python|&eacute;t&eacute;|&#65;&#66;|&#x41;&#x42;|&#X41;|&#1114112;|&#65; &#1114112;|&#xffffff;a|&#;|&bogus;|&amp
&amp;#65;|&lt;b&gt;|&nbsp;x|&quot;q&quot;|&apos;|&rsquo;s|a&#39;b|&#8217;|&copy; 2024|&sup2;|&frac12;|&Alpha;|&thetasym;
&#x&#1633;41;|&#x4&#2407;;|&#x&#120783;&#125264;;|a &#x&#65297;; &#66720;|&#x&#178;1;|&#&#49;;|&#x&#x34;1;|&#x&#1633;1;&#xffffff;
1,2|1,a|a,1|1,,2|1, 2|１，０００|१,२|٣,٤|1,&#50;|1٫5|12,345,678 rows|,5|5,|1&#44;2
a--b|-a-|--|---a---|a_b|a.b|a/b|a\\b|a\tb|a\u00a0b|a\u200bb|a\u200db|a\u00adb|\u0000a|\ufeffa|a\ufe0fb|a\uffffb
🚀|GPU 🚀 fast|👩‍🔬 science|❤|☃|→|…|a…b|–|—|a—b|•|™|®|℃|㎏|㍿|①|Ⓐ|ａｂｃ|ﷺ|𝔸𝕓|𐍈|𓀀|𒀀|🄰|𝟘𝟙
20€|EUR €|₹ 100|£5|¥|₿|1e3|v1.2.3|Python 3.12|C++|C#|F#|.NET|Node.js|100%|@home|#1|~5|A+B=C|x^2|(a)[b]{c}|<x>|`x`
"""

SUFFIXES = ["{}", "4 GB {}", "{}'s 1,000 GB", "{} – {} & {}"]


def scripts():
    """Yields up to 24 letters, digits and marks of every script: what its characters' names begin with."""
    letters = {}
    for code in range(0x80, sys.maxunicode + 1):
        char = chr(code)
        if unicodedata.category(char)[0] in "LMN":
            word = unicodedata.name(char, "").split(" ")[0].split("-")[0]
            if word:
                letters.setdefault(word, []).append(char)
    for word in sorted(letters):
        chars = letters[word]
        step = max(1, len(chars) // 24)
        yield "".join(chars[::step][:24])


def characters():
    """Yields all characters of the Basic Multilingual Plane, 64 at a time, between letters."""
    for start in range(0, 0x10000, 64):
        if not 0xD800 <= start <= 0xDFFF:
            yield "x".join(chr(code) for code in range(start, start + 64))


def main():
    written = [name for line in WRITTEN.strip().splitlines() for name in line.split("|")]
    names = written + [
        suffix.format(letters, letters, letters) for letters in scripts() for suffix in SUFFIXES
    ]
    meta = {name: version(name) for name in ("jupyterhub-kubespawner", "python-slugify", "text-unidecode")}
    meta["python"] = sys.version.split()[0]
    meta["unicode"] = unicodedata.unidata_version
    vectors = {
        "meta": meta,
        "names": [[name, slugify(name)] for name in names],
        "characters": [[name, slugify(name)] for name in characters()],
    }
    text = json.dumps(vectors, ensure_ascii=True, separators=(",", ":")).encode()
    target = Path(__file__).with_name("slugify-vectors.json.gz")
    target.write_bytes(gzip.compress(text, 9, mtime=0))
    print(len(vectors["names"]), "names,", len(vectors["characters"]), "runs of characters,", meta)


main()
