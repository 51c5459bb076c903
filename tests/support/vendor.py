"""`python -m tests.support.vendor`: fetch the browser libraries of the pages anew, as their manifest names them.

It needs npm. To take another version, change it in the manifest; the hashes are written here.
"""

import hashlib
import json
import subprocess
import tarfile
import tempfile
from pathlib import Path

from serving.pages import static_files

FOLDER = static_files.FOLDER / "vendor"
MANIFEST = FOLDER / "manifest.json"


def main() -> None:
    manifest = json.loads(MANIFEST.read_text())
    for library in manifest:
        with tempfile.TemporaryDirectory() as folder:
            name = f"{library['package']}@{library['version']}"
            subprocess.run(["npm", "pack", "--silent", name], cwd=folder, check=True)
            (archive,) = Path(folder).glob("*.tgz")
            with tarfile.open(archive) as package:
                for file in library["files"]:
                    member = package.extractfile(f"package/{file['source']}")
                    assert member, f"{name} has no {file['source']}"
                    content = member.read()
                    (FOLDER / file["name"]).write_bytes(content)
                    file["sha256"] = hashlib.sha256(content).hexdigest()
        print(name)
    MANIFEST.write_text(json.dumps(manifest, indent=2) + "\n")


if __name__ == "__main__":
    main()
