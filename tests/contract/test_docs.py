"""What the documents point at exists: files, headings, metrics; and the runbook's SQL is SQL."""

import re
from pathlib import Path

import psycopg2
import pytest
from support import metric_names
from support.documents import ROOT, Document

DOCUMENTS = ("README.md", "CHANGELOG.md", "deploy/runbook.md")
_SET = re.compile(r"^\\set (\w+) ('[^']*')$", re.MULTILINE)
RUNBOOK_SQL = Document("deploy/runbook.md").blocks("sql")


@pytest.mark.parametrize("name", DOCUMENTS)
def test_relative_links_lead_to_files_and_headings(name: str) -> None:
    document = Document(name)
    for link in document.links():
        if re.match(r"https?://", link):
            continue
        file, _, anchor = link.partition("#")
        target = (document.path.parent / file).resolve() if file else document.path
        assert target.exists(), f"{name}: {link}"
        assert target.is_relative_to(ROOT), f"{name}: {link}"
        if anchor:
            assert anchor in Document(str(target.relative_to(ROOT))).anchors(), f"{name}: {link}"


def test_the_runbooks_list_names_all_its_sections_in_order() -> None:
    runbook = Document("deploy/runbook.md")
    listed = re.findall(r"^- \[(.+)\]\(#", runbook.text, re.MULTILINE)
    assert listed == re.findall(r"^## (.+)$", runbook.text, re.MULTILINE)


def test_the_readme_names_every_metric() -> None:
    named = set(re.findall(r"`?\b((?:\w+_)+\w+)\b", Document("README.md").section("Metrics")))
    assert metric_names.of_the_code() - named == set()


@pytest.mark.parametrize("block", RUNBOOK_SQL, ids=range(len(RUNBOOK_SQL)))
def test_the_runbooks_sql_runs(block: str, database_url: str) -> None:
    variables = dict(_SET.findall(block))
    statements = re.sub(r":'(\w+)'", lambda match: variables[match[1]], _SET.sub("", block))
    connection = psycopg2.connect(database_url)
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(statements)
    finally:
        connection.close()


def test_no_document_names_a_file_that_is_not_there() -> None:
    for name in DOCUMENTS:
        text = Document(name).text
        for mentioned in re.findall(r"`((?:deploy|sql|app|workerpool|tests)/[\w./-]+)`", text):
            assert (ROOT / Path(mentioned)).exists(), f"{name}: {mentioned}"
