"""Print pyproject.toml's lower bounds as pip's constraints: "ray==2.59".

torch and torchvision are left out: an older torch is several GB of downloads, and pip takes what the machine has.
"""

import re
import tomllib
from pathlib import Path

for requirement in tomllib.loads(Path("pyproject.toml").read_text())["project"]["dependencies"]:
    found = re.fullmatch(r"([\w-]+)(?:\[.*\])?>=([\d.]+)", requirement)
    if found is None:
        raise SystemExit(f"{requirement}: expected NAME>=VERSION")
    name, version = found.groups()
    if name not in ("torch", "torchvision"):
        print(f"{name}=={version}")
