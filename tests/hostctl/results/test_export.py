"""Results in other forms: nothing lost, nothing rounded, nothing run."""

from __future__ import annotations

import csv
import io
import json
from html.parser import HTMLParser

from hostctl.results.export import to_csv, to_json_lines
from hostctl.results.report import html_report
from tests.hostctl.results.results_data import a_result


def test_json_lines_are_the_results() -> None:
    results = [a_result(), a_result(valid=False)]
    assert [json.loads(line) for line in to_json_lines(results).splitlines()] == results


def test_csv_has_a_column_a_leaf_with_every_digit() -> None:
    result = a_result(throughput_ips=1 / 3)
    (row,) = csv.DictReader(io.StringIO(to_csv([result])))
    assert float(row["throughput_ips"]) == 1 / 3
    assert float(row["power_w.u"]) == result["power_w"]["u"]
    assert row["model.name"] == "digits"
    assert row["valid"] == "true"


def test_csv_of_results_with_different_columns() -> None:
    complete, broken = (
        a_result(),
        a_result(power_w=None, meter=None, flags=[{"code": "FAILED", "message": "x"}]),
    )
    first, second = csv.DictReader(io.StringIO(to_csv([complete, broken])))
    assert first["power_w.value"] == "10.0"
    assert second["power_w.value"] == second["power_w"] == ""
    assert second["flags"] == "FAILED"


def test_csv_of_nothing() -> None:
    assert to_csv([]).strip() == ""


def test_a_name_is_no_formula() -> None:
    (row,) = csv.DictReader(io.StringIO(to_csv([a_result(device='=HYPERLINK("x")')])))
    assert row["device"].startswith("'=")


class Tags(HTMLParser):
    """Collects the tags of a page, and its text."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


def parsed(page: str) -> Tags:
    tags = Tags()
    tags.feed(page)
    return tags


def test_the_report_shows_every_result_and_every_flag() -> None:
    estimated = {"name": "e", "driver": "estimate", "scope": "board", "kind": "estimated"}
    flags = [{"code": "ENERGY_ESTIMATED", "message": "Not measured."}]
    page = parsed(html_report([a_result(), a_result(meter=estimated, flags=flags, valid=False)]))
    assert page.tags.count("details") == 2
    assert "ENERGY_ESTIMATED: Not measured." in page.text
    assert "≈ 10.000 ± 0.040" in page.text
    assert "✗ invalid" in page.text


def test_nothing_in_a_result_can_become_markup() -> None:
    evil = "<script>alert(1)</script>"
    model = {**a_result()["model"], "name": evil}
    page = html_report([a_result(model=model, flags=[{"code": "X", "message": evil}])], title=evil)
    assert "script" not in parsed(page).tags
    assert "src=" not in page
    assert "http" not in page


def test_a_report_of_a_run_without_numbers() -> None:
    empty = a_result(inference_time_ms=None, throughput_ips=None)
    assert "Request times: –" in parsed(html_report([empty])).text
