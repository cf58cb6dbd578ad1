"""Print the template as CloudFormation gets it, with SAM's part expanded. `make scan` checks that form too."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from samcli.yamlhelper import yaml_parse
from samtranslator.translator.transform import transform

REGION = "eu-central-1"


class _NoManagedPolicies:
    """An empty list of AWS's managed policies, because the template uses no policy by name."""

    def load(self) -> dict[str, str]:
        return {}


def expanded(template: Path, *, layer: str = "key", **parameters: str) -> dict[str, Any]:
    """Return a SAM template as plain CloudFormation, with the layer under a key in S3 and these parameters."""
    content = yaml_parse(template.read_text())
    for resource in content["Resources"].values():
        for name, key in {"CodeUri": "key", "ContentUri": layer}.items():
            if name in resource["Properties"]:
                resource["Properties"][name] = f"s3://bucket/{key}"
    plain: dict[str, Any] = transform(content, {"AWS::Region": REGION, **parameters}, _NoManagedPolicies())
    return plain


if __name__ == "__main__":
    json.dump(expanded(Path(sys.argv[1])), sys.stdout, indent=1, default=str)
