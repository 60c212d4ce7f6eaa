//! What the keys of the live view do.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::pane::{Pane, What};
use super::{Asked, View};
use crate::client::Verb;

/// Further than any list is long.
const FAR: isize = isize::MAX / 2;

/// What a key asks of the loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    GoOn,
    Quit,
    Suspend,
    Redraw,
}

/// Does what a key asks for.
pub(super) fn press(view: &mut View, key: KeyEvent) -> Turn {
    view.message = None;
    if key.modifiers.contains(KeyModifiers::CONTROL) {
        return match key.code {
            KeyCode::Char('c') => Turn::Quit,
            KeyCode::Char('z') => Turn::Suspend,
            KeyCode::Char('l') => Turn::Redraw,
            _ => Turn::GoOn,
        };
    }
    if view.help {
        view.help = false;
    } else if let Some(asked) = view.asked.take() {
        if key.code == KeyCode::Char('y') {
            view.tell(&asked);
        }
    } else if view.typing {
        type_filter(view, key.code);
    } else {
        return command(view, key.code);
    }
    Turn::GoOn
}

fn type_filter(view: &mut View, code: KeyCode) {
    match code {
        KeyCode::Esc => {
            view.board.filter.clear();
            view.typing = false;
        }
        KeyCode::Enter => view.typing = false,
        KeyCode::Backspace => drop(view.board.filter.pop()),
        KeyCode::Char(character) => view.board.filter.push(character),
        _ => {}
    }
    view.board.arrange();
}

fn command(view: &mut View, code: KeyCode) -> Turn {
    let page = isize::try_from(view.page).unwrap_or(1).max(1);
    match code {
        KeyCode::Char('q') => return Turn::Quit,
        KeyCode::Up | KeyCode::Char('k') => view.board.select(-1),
        KeyCode::Down | KeyCode::Char('j') => view.board.select(1),
        KeyCode::PageUp => view.board.select(-page),
        KeyCode::PageDown => view.board.select(page),
        KeyCode::Home | KeyCode::Char('g') => view.board.select(-FAR),
        KeyCode::End | KeyCode::Char('G') => view.board.select(FAR),
        KeyCode::Char('s') => {
            if let Some(asked) = asked(view, Verb::Start, "start") {
                view.tell(&asked);
            }
        }
        KeyCode::Char('x') => view.asked = asked(view, Verb::Stop, "stop"),
        KeyCode::Char('r') => view.asked = asked(view, Verb::Restart, "restart"),
        KeyCode::Char('t') | KeyCode::Enter => toggle_pane(view, What::Output),
        KeyCode::Char('l') => toggle_pane(view, What::Log),
        KeyCode::Esc if view.pane.is_some() => view.pane = None,
        KeyCode::Esc => {
            view.board.filter.clear();
            view.board.arrange();
        }
        KeyCode::Char('/') => view.typing = true,
        KeyCode::Char('f') => {
            view.board.failed_only = !view.board.failed_only;
            view.board.arrange();
        }
        KeyCode::Char('<' | ',') => view.board.sort_next(false),
        KeyCode::Char('>' | '.') => view.board.sort_next(true),
        KeyCode::Char('i') => {
            view.board.reversed = !view.board.reversed;
            view.board.arrange();
        }
        KeyCode::Char('?' | 'h') => view.help = true,
        _ => {}
    }
    // What is shown below follows the selection.
    if let (Some(pane), Some(service)) = (&view.pane, view.board.selected())
        && pane.service != *service
    {
        view.pane = Some(Pane::new(service.clone(), pane.what));
    }
    Turn::GoOn
}

fn asked(view: &View, verb: Verb, word: &'static str) -> Option<Asked> {
    view.board.selected().cloned().map(|service| Asked { verb, word, service })
}

fn toggle_pane(view: &mut View, what: What) {
    view.pane = match (&view.pane, view.board.selected()) {
        (Some(pane), _) if pane.what == what => None,
        (_, Some(service)) => Some(Pane::new(service.clone(), what)),
        (_, None) => None,
    };
}
