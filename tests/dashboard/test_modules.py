"""The modules that need no page: figures, the reader of event streams, the list of batches."""

import pytest
from playwright.sync_api import Browser


@pytest.fixture(scope="module")
def modules(browser: Browser, world):
    """One page for all of them: a module keeps nothing."""
    page = browser.new_page()
    page.goto(world.page)
    yield page
    page.close()


def values(page, script: str):
    return page.evaluate(f"async () => {{ {script} }}")


@pytest.mark.parametrize(
    ("call", "text"),
    [
        ("integer(1234567)", "1,234,567"), ("short(9999)", "9,999"), ("short(12345)", "12.3 k"), ("short(999960)", "1 M"),
        ("short(1234567890)", "1.23 G"), ("short(5e15)", "5000 T"), ("short(undefined)", "0"),
        ("bytes(0)", "0 B"), ("bytes(999)", "999 B"), ("bytes(999999)", "1 MB"), ("bytes(70000000)", "70 MB"), ("bytes(-5)", "-5 B"),
        ("rate(0)", "0/s"), ("rate(NaN)", "0/s"), ("rate(0.25)", "0.25/s"), ("rate(48211.7)", "48.2 k/s"),
        ("percent(0, 0)", "0 %"), ("percent(1, 1000)", "< 1 %"), ("percent(999, 1000)", "99 %"), ("percent(3, 3)", "100 %"),
        ("duration(340)", "340 ms"), ("duration(4210)", "4.2 s"), ("duration(59999)", "1 min"), ("duration(200000)", "3 min 20 s"),
        ("duration(7500000)", "2 h 5 min"), ("duration(3600000)", "1 h"), ("duration(-1)", "–"), ("duration(NaN)", "–"),
        ("ago('2026-01-01T00:00:00Z', Date.parse('2026-01-01T00:02:05Z'))", "2 min ago"), ("ago('x', 0)", "–"), ("time(null)", "–"),
        ("words('completed_by_timeout')", "completed by timeout"), ("count(1, 'batch', 'batches')", "1 batch"), ("count(1200, 'chunk')", "1,200 chunks"),
    ],
)  # fmt: skip
def test_figures_are_written_for_people(modules, call, text):
    assert values(modules, f"const f = await import('/dashboard/format.js'); return f.{call};") == text


def test_events_are_read_however_they_are_cut(modules):
    stream = ": hello\nretry: 2000\n\nid: 7\nevent: batches\ndata: {\"a\":\ndata: 1}\n\ndata: x\r\n\r\n: end\n\nid\ndata:no space\n\n"
    read = values(
        modules,
        f"""
        const {{ EventReader }} = await import('/dashboard/sse.js');
        const stream = {stream!r};
        const all = [];
        for (let size = 1; size <= stream.length; size += 1) {{
            const reader = new EventReader();
            const events = [];
            for (let at = 0; at < stream.length; at += size) events.push(...reader.push(stream.slice(at, at + size)));
            const remarks = events.map((event) => event.remark).filter(Boolean);
            all.push(JSON.stringify([events.filter((event) => event.remark === undefined), reader.retry, reader.lastId, remarks]));
        }}
        return [...new Set(all)];
        """,
    )
    assert read == [
        '[[{"event":"batches","data":"{\\"a\\":\\n1}","id":"7"},{"event":"message","data":"x","id":"7"},'
        '{"event":"message","data":"no space","id":""}],2000,"",["hello","end"]]'
    ]


LINE = """
const line = (id, more = {}) => ({ id, service_uri: "sales/S[1.0.0]", batch_status: "in_progress", pipeline_status: "running", created_by: "ann",
    created_timestamp: `2026-01-01T00:00:0${id}Z`, correlation_id: null, chunks_submitted: 10, chunks_completed: 5, chunks_failed: 0, records_submitted: 100,
    records_completed: 50, records_failed: 0, workers_in_use: 1, max_workers: 4, input_buffer_used_bytes: 1, output_buffer_used_bytes: 2, ...more });
const { BatchList, Speed, changes } = await import('/dashboard/model.js');
const asked = (more) => ({ view: "all", text: "", sort: "created", descending: true, page: 1, size: 2, ...more });
const ids = (seen) => seen.rows.map(({ id }) => id).join("");
"""


def test_the_list_follows_its_events(modules):
    seen = values(
        modules,
        LINE
        + """
        const list = new BatchList();
        list.apply({ ids: ["1", "2", "3"], batches: [line("1"), line("2"), line("3")] }, 0);
        const out = [ids(list.page(asked(), 0)), ids(list.page(asked({ page: 9 }), 0)), list.page(asked(), 0).pages];
        const heard = list.apply({ batches: [line("2", { batch_status: "failed", chunks_failed: 1 })], gone: ["3"] }, 1000);
        out.push(heard.map(({ id }) => id).join(""), ids(list.page(asked({ view: "live" }), 0)), ids(list.page(asked({ view: "failing" }), 0)));
        out.push(ids(list.page(asked({ text: "FAILED" }), 0)), ids(list.page(asked({ text: "nothing" }), 0)), list.totals(1000).live);
        out.push(ids(list.page(asked({ sort: "failed" }), 0)), ids(list.page(asked({ sort: "failed", descending: false }), 0)));
        list.apply({ batches: [line("1", { paused: true, pipeline_status: "paused" })] }, 1500);
        out.push(ids(list.page(asked({ view: "paused" }), 0)), ids(list.page(asked({ text: "paused" }), 0)), list.totals(1500).paused);
        // A connection that begins anew names everything that there is.
        list.apply({ ids: ["1"], batches: [] }, 2000);
        out.push(list.lines.size);
        return out;
        """,
    )
    assert seen == ["32", "1", 2, "2", "1", "2", "2", "", 1, "21", "12", "1", "1", 1, 1]


def test_speed_is_a_mean_that_falls_when_nothing_comes(modules):
    seen = values(
        modules,
        LINE
        + """
        const speed = new Speed();
        const out = [speed.at(0)];
        for (let second = 0; second <= 20; second += 1) speed.note(second * 1000, second * 500);
        out.push(speed.at(20000), speed.at(25000), speed.at(31000));
        speed.note(32000, 3);
        out.push(speed.at(32000));
        return out;
        """,
    )
    assert seen[0] == 0 and seen[1] == pytest.approx(500) and 0 < seen[2] < 500 and seen[3:] == [0, 0]


def test_only_what_changed_is_asked_for(modules):
    assert values(modules, LINE + "return changes({ a: 1, b: null, c: 3 }, { a: 1, b: null, c: 4, d: undefined });") == {"c": 4}


def test_axes_end_at_round_numbers_and_hold_every_value(modules):
    seen = values(
        modules,
        """
        const { History, ceiling } = await import('/dashboard/model.js');
        const history = new History();
        const spans = [];
        for (let second = 1; second <= 1000; second += 1) {
            history.add(second);
            if (spans.at(-1)?.[1] !== history.seconds) spans.push([second, history.seconds]);
        }
        const ends = [0, 3, 10, 11, 20.5, 99, 500, 501, 48211.7, 1111998].map(ceiling);
        return [spans, history.values.length, history.values[0], history.values.at(-1), ends];
        """,
    )
    spans, kept, oldest, newest, ends = seen
    assert spans == [[1, 30], [31, 60], [61, 120], [121, 300], [301, 600]]
    assert (kept, oldest, newest) == (600, 401, 1000)
    assert ends == [10, 10, 10, 20, 50, 100, 500, 1000, 50000, 2000000]
