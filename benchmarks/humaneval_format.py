"""Problems of ours in HumanEval's format, the odd kinds of it included. None of them is HumanEval's."""

from typing import Any


def _problem(entry: str, prompt: str, solution: str, test: str) -> dict[str, Any]:
    return {
        "prompt": prompt.lstrip("\n"),
        "canonical_solution": solution.lstrip("\n"),
        "test": "\n\nMETADATA = {\n    'author': 'us',\n    'dataset': 'test'\n}\n\n\n" + test.lstrip("\n"),
        "entry_point": entry,
    }


_ALL = [
    _problem(
        "largest_gap",
        '''
from typing import List


def largest_gap(numbers: List[float]) -> float:
    """ The largest distance between neighbours in the sorted list; 0 for fewer than two numbers.
    >>> largest_gap([1.0, 4.0, 2.5])
    1.5
    """
''',
        """
    ordered = sorted(numbers)
    return max((b - a for a, b in zip(ordered, ordered[1:])), default=0)
""",
        """
def check(candidate):
    assert candidate([1.0, 4.0, 2.5]) == 1.5
    assert abs(candidate([0.1, 0.3, 0.6]) - 0.3) < 1e-6
    assert candidate([]) == 0
    assert candidate([7.0]) == 0
""",
    ),
    _problem(
        "root_of",
        '''
import math


def value_at(coefficients: list, x: float):
    """
    Evaluates the polynomial with these coefficients, lowest first, at x.
    """
    return sum([c * math.pow(x, i) for i, c in enumerate(coefficients)])


def root_of(coefficients: list):
    """ A zero of a polynomial of odd degree.
    >>> round(root_of([-2, 1]), 2)
    2.0
    """
''',
        """
    low, high = -1.0, 1.0
    while value_at(coefficients, low) * value_at(coefficients, high) > 0:
        low *= 2.0
        high *= 2.0
    while high - low > 1e-10:
        middle = (low + high) / 2.0
        if value_at(coefficients, middle) * value_at(coefficients, low) > 0:
            low = middle
        else:
            high = middle
    return low
""",
        """
def check(candidate):
    import math
    import random
    import copy
    rng = random.Random(42)
    for _ in range(100):
        coefficients = [rng.randint(-10, 10) for _ in range(2 * rng.randint(1, 4))]
        coefficients[-1] = coefficients[-1] or 1
        solution = candidate(copy.deepcopy(coefficients))
        assert math.fabs(value_at(coefficients, solution)) < 1e-3
""",
    ),
    _problem(
        "unrotate",
        '''
def rotate(text: str):
    """ Rotates groups of three letters by one. """
    groups = [text[i:i + 3] for i in range(0, len(text), 3)]
    return "".join(group[1:] + group[0] if len(group) == 3 else group for group in groups)


def unrotate(text: str):
    """ Takes what rotate gave and returns the text. """
''',
        """
    return rotate(rotate(text))
""",
        """
def check(candidate):
    from random import randint, choice
    import string
    letters = string.ascii_lowercase
    for _ in range(100):
        text = ''.join(choice(letters) for i in range(randint(10, 20)))
        assert candidate(rotate(text)) == text
""",
    ),
    _problem(
        "extremes",
        '''
from typing import List, Tuple


def extremes(numbers: List[int]) -> Tuple[int, int]:
    """ Smallest and largest number, (None, None) for none.
    >>> extremes([3, 1, 2])
    (1, 3)
    """
''',
        """
    return (min(numbers), max(numbers)) if numbers else (None, None)
""",
        """
def check(candidate):
    assert candidate([]) == (None, None)
    assert candidate([3, 1, 2]) == (1, 3)
    assert tuple(candidate([5])) == (5, 5)
""",
    ),
    _problem(
        "levels",
        '''
from typing import List


def levels(text: str) -> List[List[str]]:
    """ Words of each line, as nested lists. """
''',
        """
    return [line.split() for line in text.split('\\n')]
""",
        """
def check(candidate):
    assert candidate('a b\\nc') == [['a', 'b'], ['c']]
    assert candidate('') == [[]]
    assert candidate('x\\n\\ny z') == [['x'], [], ['y', 'z']], "an empty line"
""",
    ),
    _problem(
        "circle_area",
        '''
def circle_area(radius):
    """ Area of a circle; None for a negative radius. """
''',
        """
    import math
    return None if radius < 0 else math.pi * radius ** 2
""",
        """
import math


def check(candidate):
    assert math.isclose(candidate(1), math.pi)
    assert math.isclose(candidate(0.5), math.pi / 4, rel_tol=1e-9)
    assert candidate(-1) is None
""",
    ),
    _problem(
        "is_balanced",
        '''
def is_balanced(brackets: str):
    """ Whether every bracket of "()" is closed. """
''',
        """
    depth = 0
    for one in brackets:
        depth += 1 if one == '(' else -1
        if depth < 0:
            return False
    return depth == 0
""",
        """
def check(candidate):
    assert candidate('()(())')
    assert not candidate(')(')
    assert candidate('') is True
    assert candidate('(') == False, "one is open"
    assert True
""",
    ),
    _problem(
        "append_total",
        '''
def append_total(numbers):
    """ Appends the sum to the list itself, and returns nothing. """
''',
        """
    numbers.append(sum(numbers))
""",
        """
def check(candidate):
    numbers = [1, 2]
    assert candidate(numbers) is None
    assert numbers == [1, 2, 3]
    for n in range(5):
        candidate(numbers)
    assert len(numbers) == 8
""",
    ),
    _problem(
        "letter_counts",
        '''
def letter_counts(text):
    """ How often each letter occurs, as a dictionary. """
''',
        """
    from collections import Counter
    return Counter(one for one in text if one.isalpha())
""",
        """
def check(candidate):
    assert candidate('a b a') == {'a': 2, 'b': 1}
    assert candidate('') == {}
    assert candidate('abc')['c'] == 1
""",
    ),
    _problem(
        "common",
        '''
def common(first: list, second: list):
    """ What both lists hold, as a set. """
''',
        """
    return set(first) & set(second)
""",
        """
def check(candidate):
    assert candidate([1, 2, 3], [2, 3, 4]) == {2, 3}
    assert candidate(first=[], second=[1]) == set()
    assert sorted(candidate([(1, 2), 3], [(1, 2)])) == [(1, 2)]
""",
    ),
    _problem(
        "digit_string",
        '''
def digit_string(n: int) -> str:
    """ The digits of n! backwards. """
''',
        """
    import math
    return str(math.factorial(n))[::-1]
""",
        """
def check(candidate):
    assert candidate(5) == '021'
    assert len(candidate(3000)) == 9131
    assert candidate(0) == "1"
""",
    ),
    _problem(
        "mean_or_error",
        '''
def mean_or_error(numbers):
    """ The mean. Raises ValueError where there are no numbers. """
''',
        """
    if not numbers:
        raise ValueError('no numbers')
    return sum(numbers) / len(numbers)
""",
        """
def check(candidate):
    assert candidate([1, 2]) == 1.5
    try:
        candidate([])
        assert False, "it must raise"
    except ValueError as error:
        assert 'no' in str(error)
""",
    ),
    _problem(
        "primes",
        '''
def is_prime(n):
    """ Whether n is prime. """
    return n > 1 and all(n % k for k in range(2, int(n ** 0.5) + 1))


def primes(limit):
    """ Yields the primes below limit; is_prime may be used. """
''',
        """
    for n in range(limit):
        if is_prime(n):
            yield n
""",
        """
def check(candidate):
    assert list(candidate(20)) == [2, 3, 5, 7, 11, 13, 17, 19]
    assert all(is_prime(n) for n in candidate(100))
    assert sum(candidate(10)) == 17
""",
    ),
    _problem(
        "nested_total",
        '''
def nested_total(tree):
    """ The sum of all numbers in nested lists. """
''',
        """
    return tree if isinstance(tree, int) else sum(nested_total(one) for one in tree)
""",
        """
def check(candidate):
    def reference(tree):
        return tree if isinstance(tree, int) else sum(map(reference, tree))

    for tree in ([], [1, [2, [3]]], [[[[]]]], [[1], [[-1]]]):
        assert candidate(tree) == reference(tree)
    assert candidate([[5]] * 50) == 250
""",
    ),
    _problem(
        "words_of",
        '''
def words_of(text):
    """ Words in order, without punctuation: "it's" is one word.
    >>> words_of("So it's 5.")
    ["So", "it's", "5"]
    """
''',
        r"""
    import re
    return re.findall(r"[\w']+", text)
""",
        """
def check(candidate):
    assert candidate("So it's 5.") == ["So", "it's", "5"], "This prints if this assert fails 1"
    assert candidate("\\t\\n") == []
    assert candidate("é, ü") == ["é", "ü"]
""",
    ),
    _problem(
        "nothing_but",
        '''
def nothing_but(value):
    """ The value, unchanged, whatever it is. """
''',
        """
    return value
""",
        """
def check(candidate):
    for value in (None, True, 0, 1.5, 'x', b'y', (1, (2,)), [[]], {1: (2,)}, {3}, frozenset({4}), 1j, range(3)):
        assert candidate(value) == value
        assert type(candidate(value)) is type(value)
    assert candidate(float('inf')) == float('inf')
    assert candidate(float('nan')) != candidate(float('nan'))
""",
    ),
]
PROBLEMS = [{"task_id": f"HumanEval/{number}", **problem} for number, problem in enumerate(_ALL)]
