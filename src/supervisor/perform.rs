//! Does what the policy decided, and writes at the end of a turn what there is to write.

use nix::sys::signal::Signal;
use nix::unistd::Pid;

use super::claim_file::ClaimFile;
use super::command::ServiceCommand;
use super::conf::load;
use super::debts::Paid;
use super::helper::Helper;
use super::publish::{Fixed, Shown};
use super::service::Service;
use super::setup::{conf_file, conf_lines, has_recipients, hook_rules};
use super::texts::{self, Line};
use super::turn::Supervisor;
use crate::alarm::{self, Facts, Stored};
use crate::config::Hup;
use crate::policy::{Action, AlarmKind, Event, Told};
use crate::statusdir::Claim;
use crate::sys::{Launch, Output, Program, Target, boot_ns, kill, launch, why};
use crate::text::escape;

impl Supervisor {
    /// Tells the policy of an event and does what it decides.
    pub(super) fn event(&mut self, event: Event) {
        let mut sent = true;
        for action in self.policy.handle(self.now, event) {
            match action {
                Action::Start => self.start(),
                Action::Signal(sig) => {
                    sent = self.signal(sig);
                    if !sent {
                        self.event(Event::NotSent(sig));
                    }
                }
                Action::StartHook(count) => self.start_hook(count),
                Action::KillHook => {
                    if let Some(hook) = self.hook.take() {
                        let sent = kill(hook.pid(), Target::Group, Signal::SIGKILL);
                        self.lines.extend(texts::hook_not_ended(sent));
                    }
                }
                Action::Raise(mut raised, start) if has_recipients(&self.settings) => {
                    if raised.kind == AlarmKind::Recovered {
                        raised.exit.pid = self.service.as_ref().map_or(0, |service| service.pid().as_raw());
                    }
                    self.alarmed.clone_from(&self.running);
                    // A service that writes elsewhere has nothing in __stderr.
                    let stderr = if self.options.inherit_output { None } else { alarm::last_words(&self.dir) };
                    self.debts.raise(raised, start, &self.boot, stderr);
                }
                Action::Raise(..) => self.lines.push(Line::notice("an alarm is raised, but nobody is to receive it")),
                Action::Settle(exit) => self.debts.settle(exit),
                Action::Tell(Told::KilledAfterTimeout { .. }) if !sent => {} // that is told already
                Action::Tell(told) => self.tell(&told),
                Action::ReadConf => self.read_conf(),
                Action::Upgrade => self.upgrade.ask(),
                Action::Leave { gave_up } => {
                    self.exit_code = Some(u8::from(gave_up));
                    if !gave_up {
                        self.lines.push(Line::notice("supervise exits, as asked for"));
                    }
                }
            }
        }
    }

    fn tell(&mut self, told: &Told) {
        // The file that was refused where it is known, else the word that stands for it.
        let refused = self.refused_file.take();
        let program = refused.unwrap_or_else(|| escape(&self.running.program));
        let mut lines = texts::lines(told, &self.options.module.to_string(), &program);
        self.lines.append(&mut lines);
    }

    /// The hot path: from here to the child nothing is written.
    fn start(&mut self) {
        let from = boot_ns();
        let block = self.claim_of(None, (from, from), self.session).encode();
        let launched = launch(Launch {
            program: &self.command.program,
            output: output(self.options.inherit_output, &self.dir),
            own_session: false,
            hup_ignored: self.settings.hup == Hup::Ignored,
            ends_with_parent: None,
            claim: self.claim.as_mut().map(|file| (file.written_by_child(), Box::new(block) as _)),
        });
        match launched {
            Ok(launched) => {
                self.service = Some(Service::child(launched.pid, (from, boot_ns()), self.session));
                self.report = Some(launched.report);
                self.let_it_execute();
                self.running.clone_from(&self.command.running);
                self.not_started = None;
                self.stop_after_exec = false;
                self.pid_changed = self.now.stamp;
                self.adopted = false;
            }
            Err(errno) => {
                let pacing = self.policy.rules().pacing.as_secs_f64();
                let why = why(errno);
                self.lines.push(Line::warning(format!(
                    "unable to start a process for the service: {why}; trying again in {pacing} s"
                )));
                self.event(Event::ForkRefused);
            }
        }
    }

    fn start_hook(&mut self, count: u32) {
        let Some(hook) = self.options.hook.as_ref() else { return self.event(Event::HookEnded) };
        let mut words = hook.words.clone();
        words.push(count.to_string().into());
        let launched = match Program::new(&words, std::env::var_os("PATH").as_deref()) {
            None => Err("its command has no word, or one with a NUL byte".to_owned()),
            Some(program) => launch(Launch {
                program: &program.into(),
                output: output(self.options.inherit_output, &self.dir),
                own_session: false,
                hup_ignored: false,
                ends_with_parent: Some(Pid::this()),
                claim: None,
            })
            .map_err(why),
        };
        match launched {
            Ok(launched) => self.hook = Some(Helper::new(launched)),
            Err(why) => {
                let name = self.hook_name();
                let text = format!("unable to run the hook {name}: {why}; the start goes on without it");
                self.lines.push(Line::warning(text));
                self.event(Event::HookEnded);
            }
        }
    }

    /// Reads supervise.conf again. A file that can't be read, or would refuse a start, leaves all as it is.
    pub(super) fn read_conf(&mut self) {
        let mut loaded = load(&self.options.conf, self.options.module.name());
        if loaded.path.is_none()
            && let Some(path) = self.conf.path.as_ref()
        {
            loaded.problems.push(format!("{} is gone", escape(path))); // the usual one, which need not be there at a start
        }
        self.conf_generation = self.conf_generation.wrapping_add(1);
        let usable = loaded.read && !loaded.refused;
        if usable {
            conf_lines(&loaded, "", &mut self.lines);
        } else {
            conf_lines(&loaded, "; the old policy stays", &mut self.lines);
            if loaded.path.is_none() && self.conf.path.is_none() {
                self.lines.push(Line::notice("there is no supervise.conf to read"));
            }
        }
        let mut conf = conf_file(&loaded, self.now.stamp, self.conf.clone());
        if !usable {
            conf.read = self.conf.read;
        }
        self.conf = conf;
        if !usable {
            return;
        }
        if self.options.command.is_none()
            && let Some(command) = loaded.settings.command.as_deref().and_then(ServiceCommand::new)
        {
            self.command = command; // counts from the next start
        }
        self.logs.limit(loaded.settings.log_max_size, loaded.settings.log_backups);
        self.settings = loaded.settings;
        self.look_for_svalarm();
        self.event(Event::Reloaded(self.settings.rules(hook_rules(&self.options))));
    }

    /// Everything that is written about a turn. The exit code, where it was the last one.
    pub(super) fn end_turn(&mut self) -> Option<u8> {
        self.read_report(); // of a child that was started in this turn
        // The claim first: what others can read must be what a successor takes over.
        self.write_claim();
        self.publish();
        self.write_lines();
        self.pay_debts();
        if self.exit_code.is_some() || self.report.is_none() {
            self.caller.answer(0); // the first start was tried, whatever came of it
        }
        self.upgrade_when_ready();
        let code = self.exit_code?;
        if std::process::id() == 1 {
            self.last_round();
            self.publish();
            self.write_lines();
        }
        self.ok.remove(&self.dir);
        self.leave_alarms();
        self.write_lines();
        self.publisher.tidy(&self.dir);
        Some(code)
    }

    pub(super) fn publish(&mut self) {
        let view = self.policy.view();
        let shown = Shown {
            view,
            pid: self.service.as_ref().and_then(|service| u32::try_from(service.pid().as_raw()).ok()),
            pid_changed: self.pid_changed,
            next_start: view.next_start.map(|moment| self.now.stamp_of(moment)),
            adopted: self.adopted,
            conf_generation: self.conf_generation,
            upgrade_generation: self.upgrade.generation,
            undelivered: self.undelivered + self.debts.owed().len() as u64,
        };
        let fixed = Fixed {
            module: self.options.module.name(),
            upgraded: self.upgrade.done,
            upgrade_problem: self.upgrade.problem.as_deref(),
            command: &self.running.text,
            conf: self.conf.path.as_deref(),
            conf_read: self.conf.read,
            conf_problem: self.conf.problem.as_deref(),
        };
        let (touched, written) = self.publisher.publish(&self.dir, shown, fixed, self.now.moment);
        if let Err((name, errno)) = written {
            let (at, why) = (&self.at, why(errno));
            self.lines.push(Line::warning(format!("unable to write {at}/{name}: {why}; it is out of date")));
        }
        if touched {
            // Our own new names woke us; what else changed there is seen by looking.
            self.signals.forget_directory();
            self.mend_names();
        }
    }

    fn claim_of(&self, pid: Option<u32>, started_between: (u64, u64), session: Pid) -> Claim {
        Claim {
            pid,
            started_between,
            session: session.as_raw(),
            boot: self.boot.clone(),
            left: self.exit_code.is_some(),
            command: self.command.number,
            ledger: *self.policy.ledger(),
            debts: self.debts.owed().to_vec(),
        }
    }

    /// With the service as it is.
    pub(super) fn claim_now(&self) -> Claim {
        let service = self.service.as_ref();
        let pid = service.and_then(|service| u32::try_from(service.pid().as_raw()).ok());
        let (started_between, session) =
            service.map_or(((0, 0), self.session), |service| (service.started_between, service.session));
        self.claim_of(pid, started_between, session)
    }

    /// Writes the claim where it changed; never between the start of a child and its report, which writes its own.
    fn write_claim(&mut self) {
        if self.report.is_some() {
            return;
        }
        let claim = self.claim_now();
        let written = match self.claim.as_mut() {
            Some(file) => file.write(claim),
            None if !self.troubles.claiming.allows(self.now.moment) => return,
            // It could not be opened so far. What it says is older than what is known here.
            None => match ClaimFile::open(&self.dir) {
                Ok((file, _)) => self.claim.insert(file).write(claim),
                Err(failed) => Err(failed.errno()),
            },
        };
        match written {
            Ok(()) => self.troubles.claiming.succeed(),
            Err(errno) if self.troubles.claiming.fail(self.now.moment) => {
                self.lines.push(Line::warning(texts::claim_failed(&self.at, errno)));
            }
            Err(_) => {}
        }
    }

    pub(super) fn write_lines(&mut self) {
        for line in std::mem::take(&mut self.lines) {
            self.logs.line(&self.dir, self.now.stamp, line.level, &line.text);
            if line.for_caller && self.caller.is_attentive() {
                self.caller.tell(&self.options.module.to_string(), &line.text);
            }
        }
    }

    /// Brings the alarms that are owed into the spool, and notes in the claim that they are there.
    fn pay_debts(&mut self) {
        if self.debts.owed().is_empty() {
            return;
        }
        if !has_recipients(&self.settings) {
            // Owed from before, with a conf that named somebody: without one it would be stored for nobody.
            if !std::mem::replace(&mut self.troubles.no_recipients, true) {
                self.lines.push(Line::warning("an alarm is owed, but the conf names nobody to receive it; it is kept"));
                self.write_lines();
            }
            self.debts.hold();
            return;
        }
        self.troubles.no_recipients = false;
        let mut stored = false;
        let facts = Facts {
            host: &self.host,
            module: self.options.module.name(),
            command: &self.alarmed.text,
            program: &self.alarmed.program,
            settings: &self.settings,
            conf: self.conf.path.as_deref(),
        };
        let results = self.debts.pay(self.now.moment, &self.dir, facts, self.exit_code.is_some());
        for paid in results {
            self.lines.push(match paid {
                Paid::Stored(id) => {
                    self.undelivered += 1;
                    stored = true;
                    Line::notice(format!("an alarm is raised: alarms/{id}"))
                }
                // Whoever has died in between stored it: it is counted already.
                Paid::WasThere(id, place) => {
                    stored = true;
                    let folder = if place == Stored::Failed { "failed/" } else { "" };
                    Line::notice(format!("an alarm was there already: alarms/{folder}{id}"))
                }
                Paid::Failed(errno) => {
                    let (at, why) = (&self.at, alarm::store_failed(&self.dir, errno));
                    Line::warning(format!("unable to write an alarm to {at}/alarms: {why}; it is kept and tried again"))
                }
            });
        }
        if stored {
            self.deliver_now();
            if self.exit_code.is_none() {
                self.deliver_when_due(); // else at the very end
            }
        }
        self.write_claim();
        self.write_lines();
        self.publish();
    }
}

fn output(inherit: bool, dir: &crate::statusdir::Directory) -> Output<'_> {
    if inherit { Output::Inherit } else { Output::Files(std::os::fd::AsFd::as_fd(dir)) }
}
