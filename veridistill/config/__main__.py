"""`python -m veridistill.config` prints docs/configuration.md; with the argument `schema`, the file schema.json."""

import json
import sys

from veridistill.config.reference import reference
from veridistill.config.schema import schema

if sys.argv[1:] == ["schema"]:
    print(json.dumps(schema(), indent=2, ensure_ascii=False))
else:
    print(reference(), end="")
