"""Metrics for Prometheus: the format line by line, one figure per line of `progress.json`, and who may read them."""

import re
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from veridistill.errors import ConfigError
from veridistill.report.metrics import CONTENT_TYPE, exposition, served
from veridistill.report.progress import Progress
from veridistill.report.traffic import Traffic

SAMPLE = re.compile(
    r'^(veridistill_[a-z_]+)(\{[a-z]+="(?:[^"\\]|\\.)*"(?:,[a-z]+="(?:[^"\\]|\\.)*")*\})? (\S+)$'
)


@pytest.fixture
def progress(tmp_path: Path) -> Progress:
    """After a training and while a build goes on."""
    found = Progress(tmp_path, "quiet")
    with found.step('train "x"\\\n', 5, "steps") as step:
        step.update(5, loss=0.5)
    traffic = Traffic(3, 4, asked=10, replayed=20, tokens=300, expected=(40, 50), cost=1.5, currency="EUR")
    build = found.step("build", 24, "questions", lambda: traffic)
    build.__enter__()
    return found


def test_every_family_has_help_and_type_and_every_sample_a_number(progress: Progress) -> None:
    text = exposition(progress.record)
    assert text.endswith("\n")
    helped: set[str] = set()
    typed: dict[str, str] = {}
    for line in text.splitlines():
        if line.startswith("# HELP "):
            name = line.split()[2]
            assert name not in helped, "a family comes once"
            helped.add(name)
        elif line.startswith("# TYPE "):
            typed[line.split()[2]] = line.split()[3]
        else:
            sample = SAMPLE.match(line)
            assert sample is not None, line
            assert sample[1] in typed
            float(sample[3])
    assert helped == typed.keys()
    assert all(name.endswith("_total") for name, kind in typed.items() if kind == "counter")


def test_the_figures_are_those_of_the_record(progress: Progress) -> None:
    text = exposition(progress.record)
    for sample in (
        'veridistill_calls_total{step="build",number="2",outcome="asked"} 10',
        'veridistill_calls_total{step="build",number="2",outcome="replayed"} 20',
        'veridistill_calls_expected{step="build",number="2",bound="high"} 50',
        'veridistill_tokens_total{step="build",number="2",kind="decoded"} 300',
        'veridistill_cost{step="build",number="2"} 1.5',
        'veridistill_units_total{step="train \\"x\\"\\\\\\n",number="1"} 5',
        'veridistill_fact{step="train \\"x\\"\\\\\\n",number="1",name="loss"} 0.5',
    ):
        assert sample in text.splitlines(), sample
    assert "veridistill_gpu" not in text, "no family without samples"
    assert exposition({}) == ""


def test_it_is_served_to_this_machine_alone(progress: Progress) -> None:
    with served(lambda: progress.record, 0) as port:
        address = f"http://127.0.0.1:{port}/metrics"
        with urllib.request.urlopen(address) as answer:
            assert answer.headers["Content-Type"] == CONTENT_TYPE
            assert answer.read().decode() == exposition(progress.record)
        for url, host in (
            (address, "evil.example"),
            (address.replace("metrics", "other"), f"127.0.0.1:{port}"),
        ):
            with pytest.raises(urllib.error.HTTPError, match="404"):
                urllib.request.urlopen(urllib.request.Request(url, headers={"Host": host}))
        with (
            pytest.raises(ConfigError, match=rf"--metrics {port}: the port cannot be used"),
            served(dict, port),
        ):
            pass
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(address)
