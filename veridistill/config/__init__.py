"""Configuration: sections of fields, read from YAML and `key=value`. Everything is imported from here.

`sections` has the fields, `values` reads YAML by the type of each field, `loading` makes a `Config` of a file and
overrides and says what is wrong with them, `identity` compares two of them, `presets` finds those that come with the
package, `reference` writes what people read and `schema` what editors read.

A function gets its own section, never the whole. Presets are whole YAML files.
"""

from veridistill.config.identity import fields, identity_differences
from veridistill.config.loading import dump, load, load_known, parse
from veridistill.config.presets import config_file, preset_file, presets
from veridistill.config.reference import reference, template
from veridistill.config.schema import SCHEMA_FILE, schema
from veridistill.config.sections import (
    ALIASES,
    BuildSection,
    Config,
    CostSection,
    EngineSection,
    EvaluationSection,
    GateSection,
    GenerateSection,
    JournalSection,
    JudgeSection,
    LimitsSection,
    LoraSection,
    ModelSection,
    QualitySection,
    SampledSection,
    Section,
    SeedsSection,
    StageName,
    TrainSection,
)

__all__ = [
    "ALIASES",
    "SCHEMA_FILE",
    "BuildSection",
    "Config",
    "CostSection",
    "EngineSection",
    "EvaluationSection",
    "GateSection",
    "GenerateSection",
    "JournalSection",
    "JudgeSection",
    "LimitsSection",
    "LoraSection",
    "ModelSection",
    "QualitySection",
    "SampledSection",
    "Section",
    "SeedsSection",
    "StageName",
    "TrainSection",
    "config_file",
    "dump",
    "fields",
    "identity_differences",
    "load",
    "load_known",
    "parse",
    "preset_file",
    "presets",
    "reference",
    "schema",
    "template",
]
