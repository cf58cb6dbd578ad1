"""The template as data, for the tests of the stack's shape."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]


class _Loader(yaml.SafeLoader):
    """Reads CloudFormation's short forms: `!Ref X` becomes {"Ref": "X"}, `!Sub x` {"Fn::Sub": "x"}, and so on."""


def _intrinsic(loader: _Loader, suffix: str, node: yaml.Node) -> Any:
    if isinstance(node, yaml.ScalarNode):
        value: Any = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        value = loader.construct_mapping(node, deep=True)  # type: ignore[arg-type]
    if suffix == "GetAtt" and isinstance(value, str):
        value = value.split(".", 1)
    return {suffix if suffix in {"Ref", "Condition"} else f"Fn::{suffix}": value}


_Loader.add_multi_constructor("!", _intrinsic)


def make_flow_table(client: Any, name: str = "flows") -> None:
    """Create the table as template.yaml defines it, with a DynamoDB client."""
    properties = load_template()["Resources"]["FlowTable"]["Properties"]
    wanted = ("BillingMode", "AttributeDefinitions", "KeySchema", "GlobalSecondaryIndexes")
    client.create_table(TableName=name, **{one: properties[one] for one in wanted})


def load_template(path: Path = ROOT / "template.yaml") -> dict[str, Any]:
    """Return the template with its intrinsic functions in their long form."""
    return dict(yaml.load(path.read_text(), Loader=_Loader))  # noqa: S506  # a SafeLoader with CloudFormation's tags
