"""The lab's worlds, by name."""

from veridistill.errors import ConfigError
from veridistill.lab.worlds.equations import EQUATIONS
from veridistill.lab.worlds.programs import PROGRAMS
from veridistill.lab.worlds.science import SCIENCE
from veridistill.lab.worlds.world import AnyWorld, Task

__all__ = ["ALL", "EQUATIONS", "PROGRAMS", "SCIENCE", "WORLDS", "named", "task_of"]

WORLDS: dict[str, AnyWorld] = {world.name: world for world in (EQUATIONS, SCIENCE, PROGRAMS)}
ALL = "all"


def named(name: str) -> tuple[AnyWorld, ...]:
    """The world of that name, or all of them. Raises `ConfigError` for a name that is none."""
    if name == ALL:
        return tuple(WORLDS.values())
    if name not in WORLDS:
        raise ConfigError(f"world must be one of {', '.join((*WORLDS, ALL))}; found {name!r}")
    return (WORLDS[name],)


def task_of(question: str) -> Task | None:
    """The task that asks this question, of whichever world; None where no world asks it."""
    found: list[Task] = [task for world in WORLDS.values() if (task := world.parse(question)) is not None]
    return found[0] if found else None
