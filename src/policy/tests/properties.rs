//! What holds whatever happens: random worlds over simulated time.

use proptest::prelude::*;
use proptest::sample::select;

use super::super::world::{Doing, World};
use super::*;

fn doing() -> impl Strategy<Value = Doing> {
    let commands: Vec<Command> = Command::ALL.into_iter().filter(|&command| command != Command::Exit).collect();
    let ends = vec![Ended::Code(0), Ended::Code(1), CRASH, CORE, KILLED, TERMINATED, Ended::Unknown, Ended::Pending];
    prop_oneof![
        4 => (0..3_000_000_000_u64).prop_map(Doing::Wait),
        1 => (0..200_000_000_000_u64).prop_map(Doing::Wait),
        6 => Just(Doing::ToDeadline),
        6 => select(commands).prop_map(Doing::Command),
        12 => select(ends).prop_map(Doing::Exit),
        4 => Just(Doing::HookEnds),
        1 => Just(Doing::ForkRefused),
        1 => any_rules().prop_map(Doing::Reload),
        1 => any::<u64>().prop_map(Doing::ClockSet),
        1 => any::<bool>().prop_map(|dies| Doing::Killed { dies }),
        1 => prop_oneof![Just(Doing::Terminate), Just(Doing::Command(Command::Exit))],
    ]
}

fn any_rules() -> impl Strategy<Value = Rules> {
    let window = prop_oneof![Just(None), Just(Some(60)), Just(Some(600))];
    let stop = prop_oneof![Just(None), Just(Some(5))];
    (window, 0..5_u32, 0..4_u32, 100..3000_u64, stop).prop_map(|(window, tries, cores, pacing, stop)| Rules {
        window: window.map(Duration::from_secs),
        max_tries: limit(tries),
        max_coredumps: limit(cores),
        pacing: Duration::from_millis(pacing),
        stop_timeout: stop.map(Duration::from_secs),
        recovered: tries % 2 == 0,
        hook: None,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens(
        rules in any_rules(),
        reset in prop_oneof![Just(None), Just(Some(None)), Just(Some(Some(10)))],
        doings in proptest::collection::vec(doing(), 1..120),
    ) {
        let hook = reset.and_then(|reset| with_hook(reset).hook);
        let mut world = World::new(Rules { hook, ..rules });
        for doing in doings {
            world.do_it(doing);
        }
    }
}
