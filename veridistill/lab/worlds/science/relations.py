"""The formulas of the science world: products of two quantities, solved for any of the three."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Quantity:
    """`kilo`: whether a thousand of the unit may be given with the prefix k."""

    symbol: str
    noun: str
    unit: str
    kilo: bool = False


@dataclass(frozen=True)
class Relation:
    """product = one · other."""

    product: Quantity
    one: Quantity
    other: Quantity

    @property
    def quantities(self) -> tuple[Quantity, Quantity, Quantity]:
        return self.product, self.one, self.other

    def formula(self, asked: str) -> str:
        """Solved for a symbol: `V=I*R`, `R=V/I`."""
        product, one, other = (quantity.symbol for quantity in self.quantities)
        if asked == product:
            return f"{product}={one}*{other}"
        return f"{asked}={product}/{other if asked == one else one}"


_CURRENT = Quantity("I", "current", "A")
_TIME = Quantity("t", "time", "s")
_FORCE = Quantity("F", "force", "N", kilo=True)
_MASS = Quantity("m", "mass", "kg")
_DISTANCE = Quantity("s", "distance", "m", kilo=True)
_ENERGY = Quantity("E", "energy", "J", kilo=True)

RELATIONS = (
    Relation(
        Quantity("V", "voltage", "V", kilo=True), _CURRENT, Quantity("R", "resistance", "ohm", kilo=True)
    ),
    Relation(_DISTANCE, Quantity("v", "speed", "m/s"), _TIME),
    Relation(_MASS, Quantity("d", "density", "kg/m^3"), Quantity("U", "volume", "m^3")),
    Relation(_FORCE, Quantity("p", "pressure", "Pa", kilo=True), Quantity("A", "area", "m^2")),
    Relation(_FORCE, _MASS, Quantity("a", "acceleration", "m/s^2")),
    Relation(_ENERGY, Quantity("P", "power", "W", kilo=True), _TIME),
    Relation(Quantity("Q", "charge", "C", kilo=True), _CURRENT, _TIME),
    Relation(Quantity("W", "work", "J", kilo=True), _FORCE, _DISTANCE),
)
SYMBOLS = {quantity.symbol: quantity for relation in RELATIONS for quantity in relation.quantities}
NOUNS = {quantity.noun: quantity for quantity in SYMBOLS.values()}


def relation_of(symbols: frozenset[str]) -> Relation | None:
    """The relation between three quantities, or None."""
    return next((r for r in RELATIONS if {q.symbol for q in r.quantities} == symbols), None)
