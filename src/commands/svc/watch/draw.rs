//! How the live view looks.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Clear, Paragraph, Wrap};
use unicode_width::UnicodeWidthStr as _;

use super::View;
use super::pane::{Pane, What};
use crate::client::table::{self, Cell, Column, Row, Tone, cut};
use crate::client::{Line as Service, STEPS, State, detail, row, summary};
use crate::policy::Stamp;
use crate::text::escape;

/// So much of the history is enough where there is little room.
const SHORT: usize = STEPS / 2;

/// And so many lines for what is wrong with the selected service.
const DETAIL: usize = 3;

const COLUMNS: [Column; 10] = [
    Column { heading: "MODULE", right: false, least: 12, order: 0 },
    Column { heading: "STATE", right: false, least: 20, order: 1 },
    Column { heading: "PID", right: true, least: 7, order: 4 },
    Column { heading: "SINCE", right: true, least: 7, order: 2 },
    Column { heading: "CPU%", right: true, least: 5, order: 3 },
    Column { heading: "MEMORY", right: true, least: 6, order: 5 },
    Column { heading: "STARTS", right: true, least: 6, order: 8 },
    Column { heading: "RESTARTS", right: true, least: SHORT, order: 6 },
    Column { heading: "LAST EXIT", right: false, least: 12, order: 9 },
    Column { heading: "ALARMS", right: false, least: 6, order: 7 },
];

const HELP: &str = "  up, down, j, k        select a service          PgUp, PgDn, Home, End, g, G
  s                     start it
  x                     stop it                   (asks first)
  r                     restart it                (asks first)
  t, Enter              what it says: stdout and stderr    (Esc: away)
  l                     what supervise says of it
  /                     show only names with this in them; Esc: all
  f                     show only what needs attention
  <, >                  sort by another column    i: the other way round
  Ctrl-L                draw the screen anew      Ctrl-Z: stop, fg continues
  q, Ctrl-C             quit

  RESTARTS: as seen since this was opened, a bar for each 15 s, of 5 minutes

  any key: back";

/// Draws all of it.
pub(super) fn draw(frame: &mut Frame<'_>, view: &mut View, now: Stamp) {
    let pane_height = match view.pane {
        Some(_) => Constraint::Percentage(45),
        None => Constraint::Length(0),
    };
    // What the state only hints at is told of the selected one.
    let detail = view.board.selected_line().map(|line| detail(&line.sight)).unwrap_or_default();
    let detail_height = detail.width().div_ceil(usize::from(frame.area().width).max(1)).min(DETAIL);
    let detail_height = Constraint::Length(u16::try_from(detail_height).unwrap_or(1));
    let parts = [Constraint::Length(1), Constraint::Min(3), pane_height, detail_height, Constraint::Length(1)];
    let [head, list, pane, below, foot] = Layout::vertical(parts).areas(frame.area());
    frame.render_widget(Paragraph::new(head_line(view, usize::from(head.width))), head);
    draw_list(frame, view, list, now);
    if let Some(shown) = &view.pane {
        draw_pane(frame, shown, pane);
    }
    let text = Paragraph::new(detail).style(style(Tone::Busy, view.painted));
    frame.render_widget(text.wrap(Wrap { trim: true }), below);
    frame.render_widget(Paragraph::new(foot_line(view, usize::from(foot.width))), foot);
    if view.help {
        draw_help(frame, list.union(pane));
    }
}

fn head_line(view: &View, width: usize) -> Line<'static> {
    let board = &view.board;
    let mut left = escape(view.root.as_os_str().as_encoded_bytes());
    left = format!("{left}  {}", summary(board.all().map(|line| &line.sight)));
    let mut right = format!("by {}{}", board.sort.word(), if board.reversed { " (reversed)" } else { "" });
    if board.failed_only {
        right.push_str(", failed only");
    }
    if !board.filter.is_empty() {
        right.push_str(&format!(", with \"{}\"", escape(board.filter.as_bytes())));
    }
    let left = cut(&left, width.saturating_sub(right.width() + 2));
    let gap = width.saturating_sub(left.width() + right.width());
    Line::from(vec![Span::styled(left, Modifier::BOLD), Span::raw(" ".repeat(gap)), Span::styled(right, Modifier::DIM)])
}

fn draw_list(frame: &mut Frame<'_>, view: &mut View, area: Rect, now: Stamp) {
    let rows: Vec<Row> = view.board.shown().map(|line| service_row(line, now)).collect();
    let (height, place) = (usize::from(area.height).saturating_sub(1), view.board.place());
    // The selected one stays in sight, and nothing is scrolled further than its end.
    view.top = view.top.min(place).max((place + 1).saturating_sub(height)).min(rows.len().saturating_sub(height));
    let visible = view.top..(view.top + height).min(rows.len());
    let first = view.top;
    let pieces = table::pieces(&COLUMNS, &rows, usize::from(area.width), visible);
    let lines: Vec<Line<'_>> = pieces
        .into_iter()
        .enumerate()
        .map(|(number, pieces)| {
            let spans = pieces.into_iter().map(|(text, tone)| Span::styled(text, style(tone, view.painted)));
            let line = Line::from_iter(spans);
            let is_selected = number > 0 && first + number - 1 == place;
            if is_selected { padded(line, area.width).patch_style(Modifier::REVERSED) } else { line }
        })
        .collect();
    frame.render_widget(Paragraph::new(lines), area);
    if rows.is_empty() {
        let below = Rect { y: area.y + 1, height: area.height.saturating_sub(1).min(1), ..area };
        frame.render_widget(Paragraph::new(Span::styled("no service is to be shown", Modifier::DIM)), below);
    }
}

/// The bar of the selected line reaches to the edge.
fn padded(mut line: Line<'_>, width: u16) -> Line<'_> {
    let missing = usize::from(width).saturating_sub(line.width());
    line.push_span(Span::raw(" ".repeat(missing)));
    line
}

fn service_row(line: &Service, now: Stamp) -> Row {
    let Row(mut cells) = row(&line.sight, now);
    if line.sight.state == State::Unreadable {
        return Row(cells);
    }
    let _note = cells.pop(); // the state says that there is one, and below the list it is told of the selected one
    let alarms = cells.pop().unwrap_or_default();
    let _window = cells.pop(); // the history says more
    let last_exit = cells.pop().unwrap_or_default();
    let starts = cells.pop().unwrap_or_default();
    let or_none = |text: Option<String>| Cell::from(text.unwrap_or_else(|| "-".to_owned()));
    cells.push(or_none(line.cpu_percent.map(|percent| format!("{percent:.1}"))));
    cells.push(or_none(line.process.map(|process| bytes(process.memory))));
    cells.push(starts);
    let tone = if line.history.iter().any(|&restarts| restarts > 0) { Tone::Busy } else { Tone::Quiet };
    cells.push(Cell::from(sparkline(line, STEPS)).or_short(sparkline(line, SHORT)).toned(tone));
    cells.push(last_exit);
    cells.push(alarms);
    Row(cells)
}

/// A character for each of the last steps, the newest at the right; higher is more.
fn sparkline(line: &Service, steps: usize) -> String {
    const LEVELS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let highest = LEVELS.len() as u64 - 1;
    // One restart is one level, until a step has more of them than there are levels.
    let most = line.history.iter().copied().max().unwrap_or(0).max(highest);
    let level = |restarts: &u64| LEVELS[usize::try_from((restarts * highest).div_ceil(most)).unwrap_or(0)];
    line.history.iter().skip(line.history.len().saturating_sub(steps)).map(level).collect()
}

/// `512`, `12.3M`: bytes in units of 1024.
fn bytes(number: u64) -> String {
    let mut scaled = number as f64;
    for unit in ["", "K", "M", "G", "T"] {
        if scaled < 1000.0 {
            return if scaled < 10.0 && !unit.is_empty() {
                format!("{scaled:.1}{unit}")
            } else {
                format!("{scaled:.0}{unit}")
            };
        }
        scaled /= 1024.0;
    }
    format!("{scaled:.0}P")
}

fn draw_pane(frame: &mut Frame<'_>, pane: &Pane, area: Rect) {
    let what = match pane.what {
        What::Output => "stdout and stderr",
        What::Log => "supervise.log and .wf",
    };
    let block = Block::new().borders(Borders::TOP).title(format!(" {}: {what} ", pane.service.shown()));
    let inside = block.inner(area);
    let lines: Vec<Line<'_>> = pane
        .last(usize::from(inside.height))
        .map(|(file, text)| Line::from(vec![Span::styled(pane.tag(file), Modifier::DIM), Span::raw(text)]))
        .collect();
    frame.render_widget(block, area);
    frame.render_widget(Paragraph::new(lines), inside);
}

fn foot_line(view: &View, width: usize) -> Line<'static> {
    if let Some(asked) = &view.asked {
        return Line::styled(
            format!("{} {}? y: yes, any other key: no", asked.word, asked.service.shown()),
            Modifier::BOLD,
        );
    }
    if view.typing {
        return Line::from(format!("/{}_   Enter: keep, Esc: show all", escape(view.board.filter.as_bytes())));
    }
    match (&view.message, &view.problem) {
        (Some(message), _) => Line::from(cut(message, width)),
        (None, Some(problem)) => Line::styled(cut(problem, width), style(Tone::Bad, view.painted)),
        (None, None) => {
            Line::styled("q quit  ? help  s start  x stop  r restart  t tail  l log  / filter  <> sort", Modifier::DIM)
        }
    }
}

fn draw_help(frame: &mut Frame<'_>, area: Rect) {
    let height = u16::try_from(HELP.lines().count()).unwrap_or(u16::MAX) + 2;
    let area = Rect { height: area.height.min(height), ..area };
    frame.render_widget(Clear, area);
    frame.render_widget(Paragraph::new(HELP).block(Block::bordered().title(" svc status --watch ")), area);
}

fn style(tone: Tone, painted: bool) -> Style {
    match tone {
        Tone::Heading => Style::new().add_modifier(Modifier::BOLD | Modifier::UNDERLINED),
        Tone::Plain => Style::new(),
        _ if !painted => Style::new(),
        Tone::Good => Style::new().fg(Color::Green),
        Tone::Busy => Style::new().fg(Color::Yellow),
        Tone::Bad => Style::new().fg(Color::Red).add_modifier(Modifier::BOLD),
        Tone::Quiet => Style::new().add_modifier(Modifier::DIM),
    }
}
