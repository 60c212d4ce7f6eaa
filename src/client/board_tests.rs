use super::*;
use crate::client::State;
use crate::statusdir::ReadRecord;

fn sight(name: &str, state: State, starts: u64) -> Sight {
    let service = Service { name: name.into(), dir: format!("/nowhere/{name}").into() };
    Sight {
        state,
        supervise: Some(true),
        stopped: None,
        record: ReadRecord::decode(format!("module : {name}\nstarts : {starts}\n").as_bytes()),
        ..Sight::unreadable(service, String::new())
    }
}

fn board() -> Board {
    let mut board = Board::new(false);
    board.set_services(vec![
        sight("a", State::Up, 1),
        sight("b", State::Pacing, 9),
        sight("Web", State::Up, 3),
        sight("z", State::GaveUp, 2),
    ]);
    board.arrange();
    board
}

fn names(board: &Board) -> Vec<String> {
    board.shown().map(|line| line.sight.service.shown()).collect()
}

#[test]
fn sorted_by_any_column_either_way() {
    let mut board = board();
    assert_eq!(names(&board), ["Web", "a", "b", "z"]);
    for (sort, expected) in [(Sort::State, ["z", "b", "Web", "a"]), (Sort::Starts, ["b", "Web", "z", "a"])] {
        board.sort = sort;
        board.arrange();
        assert_eq!(names(&board), expected, "{sort:?}");
    }
    board.reversed = true;
    board.arrange();
    assert_eq!(names(&board), ["a", "z", "Web", "b"]);
    let mut seen = Vec::new();
    for _ in Sort::ALL {
        board.sort_next(true);
        seen.push(board.sort.word());
    }
    assert_eq!(seen, ["name", "state", "CPU", "memory", "since", "starts"]);
    board.sort_next(false);
    assert_eq!(board.sort, Sort::Since);
}

#[test]
fn filtered_by_a_part_of_the_name_or_by_trouble() {
    let mut board = board();
    board.filter = "WE".to_owned();
    board.arrange();
    assert_eq!(names(&board), ["Web"]);
    board.filter.clear();
    board.failed_only = true;
    board.arrange();
    assert_eq!(names(&board), ["b", "z"]);
}

#[test]
fn the_selection_stays_with_its_service() {
    let mut board = board();
    board.select(2);
    assert_eq!(board.selected().unwrap().shown(), "b");
    board.sort = Sort::Starts;
    board.arrange();
    assert_eq!((board.selected().unwrap().shown().as_str(), board.place()), ("b", 0));
    board.select(isize::MAX);
    assert_eq!(board.place(), 3);
    board.filter = "none".to_owned();
    board.arrange();
    assert_eq!(board.selected(), None);
    board.select(-5);
    board.select(1);
    assert_eq!(board.selected(), None);
}

#[test]
fn restarts_are_counted_while_one_watches() {
    let mut board = board();
    board.set_services(vec![sight("a", State::Up, 4), sight("b", State::Up, 2), sight("new", State::Up, 50)]);
    let history = |board: &Board| -> Vec<u64> { board.all().map(|line| line.history.iter().sum()).collect() };
    assert_eq!(history(&board), [3, 1, 0], "a: three more; b: counted anew; new: seen for the first time");
    board.set_services(vec![Sight { record: None, ..sight("a", State::Up, 0) }]);
    board.set_services(vec![sight("a", State::Up, 6)]);
    assert_eq!(history(&board), [5], "a look in the middle of a change hides none");
    board.set_services(vec![sight("a", State::Up, 6), sight("b", State::Up, 2)]);
    let second = |number: u64| Moment(number * 1_000_000_000);
    board.measure(second(0));
    board.measure(second(14));
    assert_eq!(board.all().next().unwrap().history, [5]);
    board.measure(second(15));
    assert_eq!(board.all().next().unwrap().history, [5, 0]);
    board.measure(second(10_000));
    assert_eq!(board.all().next().unwrap().history, vec![0; STEPS]);
}
