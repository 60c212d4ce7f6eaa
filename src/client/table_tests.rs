use super::*;

const COLUMNS: [Column; 4] = [
    Column { heading: "NAME", right: false, least: 4, order: 0 },
    Column { heading: "PID", right: true, least: 3, order: 1 },
    Column { heading: "EXIT", right: false, least: 6, order: 2 },
    Column { heading: "NOTE", right: false, least: 4, order: 3 },
];

fn rows() -> Vec<Row> {
    let exit = Cell::from("signal SEGV, 5m ago").or_short("signal SEGV");
    vec![
        Row(vec!["应用".into(), "7".into(), exit, "on".into()]),
        Row(vec!["b".into(), "12345".into(), "-".into(), "on".into()]),
        Row(vec!["c".into(), Cell::from("why it cannot be read, at length").toned(Tone::Bad)]),
    ]
}

#[test]
fn columns_are_aligned_by_what_a_terminal_shows() {
    assert_eq!(
        lines(&COLUMNS, &rows(), None, false),
        [
            "NAME    PID  EXIT                 NOTE",
            "应用      7  signal SEGV, 5m ago  on",
            "b     12345  -                    on",
            "c     why it cannot be read, at length",
        ]
    );
}

#[test]
fn the_less_important_gives_way_first() {
    for (width, expected) in [
        (38, "应用      7  signal SEGV, 5m ago  on"),
        (37, "应用      7  signal SEGV  on"),
        (29, "应用      7  signal SEGV"),
        (24, "应用      7  signal SEGV"),
        (21, "应用      7  signal …"),
        (19, "应用      7  signa…"),
        (18, "应用      7"),
        (13, "应用      7"),
        (10, "应用     7"),
        (8, "应用   7"),
        (4, "应用"),
    ] {
        let lines = lines(&COLUMNS, &rows(), Some(width), false);
        assert_eq!(lines[1], expected, "in {width} columns");
        assert!(lines.iter().all(|line| line.width() <= width), "{width}: {lines:?}");
    }
    assert_eq!(lines(&COLUMNS, &rows(), Some(20), false)[3], "c     why it cannot…");
}

#[test]
fn colours_change_no_width() {
    let painted = lines(&COLUMNS, &rows(), None, true);
    assert_eq!(painted[3], "c     \x1b[1;31mwhy it cannot be read, at length\x1b[0m");
    assert!(painted[0].starts_with("\x1b[1mNAME\x1b[0m    \x1b[1mPID"));
}

#[test]
fn a_cut_text_says_so() {
    assert_eq!((cut("abc", 3), cut("abc", 2), cut("应用", 3)), ("abc".into(), "a…".into(), "应…".into()));
    assert_eq!((cut("abc", 1), cut("abc", 0)), ("…".into(), String::new()));
}

#[test]
fn characters_that_are_wider_together_are_cut_too() {
    let clouds = "\u{2601}\u{fe0f}".repeat(4); // one column alone, two as a picture
    for room in 0..9 {
        assert!(cut(&clouds, room).width() <= room, "{:?} in {room}", cut(&clouds, room));
    }
}
