"""`python -m tests.support.vendor`: fetch the pages' browser libraries and the reports' fonts anew.

Their manifests name them. It needs npm and, for packages of Debian, apt-get and dpkg-deb. To take another version,
change it in the manifest; the hashes are written here. TrueType fonts are packed as WOFF, without their hinting.
"""

import hashlib
import io
import json
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import Any

from assets.reports import script_fonts
from serving.pages import static_files

FOLDER = static_files.FOLDER / "vendor"
MANIFEST = FOLDER / "manifest.json"
MANIFESTS = (MANIFEST, script_fonts.FOLDER / "manifest.json")
FIRST_OF_CJK = 0x2E80


def main() -> None:
    for written in MANIFESTS:
        folder, manifest = written.parent, json.loads(written.read_text())
        for library in manifest:
            with tempfile.TemporaryDirectory() as place:
                root = (_from_debian if library.get("registry") == "debian" else _from_npm)(library, Path(place))
                for file in library["files"]:
                    source = root / file["source"]
                    is_packed = source.suffix == ".ttf" and file["name"].endswith(".woff")
                    content = _woff(source) if is_packed else source.read_bytes()
                    (folder / file["name"]).write_bytes(content)
                    file["sha256"] = hashlib.sha256(content).hexdigest()
            print(library["package"], library["version"])
        written.write_text(json.dumps(manifest, indent=2) + "\n")


def _from_npm(library: dict[str, Any], place: Path) -> Path:
    """The folder of a package's files."""
    subprocess.run(["npm", "pack", "--silent", f"{library['package']}@{library['version']}"], cwd=place, check=True)
    (archive,) = place.glob("*.tgz")
    with tarfile.open(archive) as package:
        package.extractall(place, filter="data")
    return place / "package"


def _from_debian(library: dict[str, Any], place: Path) -> Path:
    subprocess.run(["apt-get", "download", f"{library['package']}={library['version']}"], cwd=place, check=True)
    (archive,) = place.glob("*.deb")
    subprocess.run(["dpkg-deb", "-x", archive.name, "files"], cwd=place, check=True)
    return place / "files"


def _woff(font: Path) -> bytes:
    """The font's characters beyond Latin as WOFF, without hinting, which print and screens of today do without."""
    from fontTools import subset  # noqa: PLC0415 - only fonts need it
    from fontTools.ttLib import TTFont  # noqa: PLC0415 - as above

    options = subset.Options(hinting=False, flavor="woff", layout_features=["*"], name_IDs=["*"])
    kept, sink = TTFont(font), io.BytesIO()
    subsetter = subset.Subsetter(options)
    subsetter.populate(unicodes=[code for code in kept.getBestCmap() if code >= FIRST_OF_CJK])
    subsetter.subset(kept)
    kept.flavor = "woff"
    kept.save(sink)
    return sink.getvalue()


if __name__ == "__main__":
    main()
