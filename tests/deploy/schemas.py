"""Strict validation: a field that the schema does not know is an error, as a mistyped one would silently be dropped by the server.
Kubernetes' own kinds by the schemas inside kubernetes-validate, an operator's by its CustomResourceDefinition."""
import copy
import json
import os

import jsonschema
import kubernetes_validate
import yaml

VERSIONS = ("1.29", "1.33", "1.37")  # the oldest that the manifests are for, one between, the newest


class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
    pass


Loader.add_constructor("tag:yaml.org,2002:value", lambda loader, node: node.value)  # a plain `=`, which means something in YAML 1.1


def load_all(text):
    return [d for d in yaml.load_all(text, Loader=Loader) if d]


def strict(schema):
    """Kubernetes' dialect of OpenAPI as JSON schema that refuses unknown fields."""
    if not isinstance(schema, dict):
        return schema
    out = {k: v for k, v in schema.items() if not k.startswith("x-")}
    if schema.get("x-kubernetes-int-or-string"):
        out.pop("type", None)
        out["anyOf"] = [{"type": "integer"}, {"type": "string"}]
    for key in ("properties", "patternProperties"):
        if key in out:
            out[key] = {k: strict(v) for k, v in out[key].items()}
    for key in ("items", "additionalProperties", "not"):
        if key in out:
            out[key] = strict(out[key])
    if "properties" in out and "additionalProperties" not in out and not schema.get("x-kubernetes-preserve-unknown-fields"):
        out["additionalProperties"] = False
    return out


class Schemas:
    def __init__(self, folder):
        self.definitions, self.known = {}, {}
        for file in sorted(os.listdir(folder)):
            with open(os.path.join(folder, file)) as f:
                for crd in load_all(f.read()):
                    spec = crd["spec"]
                    for version in spec["versions"]:
                        schema = strict(version["schema"]["openAPIV3Schema"])
                        schema["properties"]["metadata"] = {"type": "object"}
                        self.definitions[f"{spec['group']}/{version['name']}", spec["names"]["kind"]] = schema

    def faults(self, document):
        """What is wrong with one document, a line each. One that was seen before is not looked at again."""
        text = json.dumps(document, sort_keys=True, default=str)
        if text not in self.known:
            self.known[text] = self.look(document)
        return self.known[text]

    def look(self, document):
        key = document.get("apiVersion"), document.get("kind")
        if key in self.definitions:
            found = jsonschema.Draft7Validator(self.definitions[key]).iter_errors(document)
            return [f"{key[1]}: {'.'.join(map(str, e.absolute_path))}: {e.message}" for e in found]
        out = []
        for version in VERSIONS:
            try:
                kubernetes_validate.validate(copy.deepcopy(document), version, strict=True)
            except kubernetes_validate.ValidationError as e:
                out.append(f"{key[1]}: {'.'.join(map(str, e.path))}: {e.message} (Kubernetes {version})")
            except kubernetes_validate.SchemaNotFoundError as e:
                out.append(f"{key[1]}: {e.message}")
        return out
