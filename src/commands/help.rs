//! The help text of supervise.

pub(super) const HELP: &str = "\
supervise keeps one program running, and says in its status directory how it fares.

  supervise -p STATUS_DIR -f COMMAND [-F CONF] [-r HOOK] [-t SECONDS]     in the background
  supervise -p STATUS_DIR [-F CONF] [-r HOOK] [-t SECONDS] [COMMAND [ARG]...]
  supervise [-F CONF] [-r HOOK] [-t SECONDS] -u STATUS_DIR COMMAND [ARG]...
  supervise STATUS_DIR COMMAND [ARG]...                                   in the foreground
  supervise --take-over -p STATUS_DIR ...                                 replaces a living supervise
  supervise --check -F CONF [-p STATUS_DIR]                               reads CONF, starts nothing

  -p, --status-dir STATUS_DIR  .../status/NAME; NAME is the module's name
  -f, --command COMMAND        one string, split on blanks, or by shell word rules if it holds quotes;
                               no shell is started
  -F, --conf CONF              the alarm policy; without it supervise.conf in the current folder, if any
  -r, --hook HOOK              runs before every restart, with the exit count as its last argument
  -t, --hook-reset SECONDS     the count starts anew after so much time without an exit
  -u                           ends the options: STATUS_DIR and COMMAND follow
      --foreground             stays in the foreground
      --log files|inherit      the service writes to __stdout and __stderr, or where supervise does
      --take-over              replaces the supervise that holds the lock, the classic program included, under its
                               service; if anything is not as it should be, nothing is changed
      --check                  says what each module gets from CONF, and everything that is wrong with it
  -v, --version                says the version
  -h, --help                   says this

To the running supervise:  echo d > STATUS_DIR/svcontrol   (u up, d down, o once, k kill, x exit, p pause,
c continue, t i h a q 1 2 signals, s alarms off, n alarms on, r read CONF again, U upgrade to the version that
is installed now)

Exit codes: 0 it is supervised (100 wrong use or conf, 110 no status directory, 111 a system call failed or
another supervise is there). In the foreground: 0 told to exit, 1 gave up.

More: supervise(8), supervise.conf(5).
";
