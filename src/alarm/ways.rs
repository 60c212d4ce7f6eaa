//! How alarms leave the machine: as supervise.conf says it now, else as it did when the alarm was raised.

use std::ffi::OsString;
use std::path::PathBuf;

use super::read::{Message, Recipient};
use crate::config::{self, Settings, Transport};

/// The kinds of recipients, each with places of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Mail,
    Gsm,
    Exec,
    Webhook,
}

impl Way {
    pub(super) const ALL: [Self; 4] = [Self::Mail, Self::Gsm, Self::Exec, Self::Webhook];

    pub(super) fn of(recipient: &Recipient) -> Self {
        match recipient {
            Recipient::Mail(_) => Self::Mail,
            Recipient::Gsm(_) => Self::Gsm,
            Recipient::Exec(_) => Self::Exec,
            Recipient::Webhook(_) => Self::Webhook,
        }
    }

    /// It opens connections, or has them opened at once, as sendmail programs without a queue do.
    pub(super) fn needs_slot(self) -> bool {
        matches!(self, Self::Mail | Self::Webhook)
    }
}

/// The settings that a delivery needs.
#[derive(Clone, Debug)]
pub(super) struct Ways {
    /// `None`: sendmail if it is installed, else a relay on this machine.
    pub(super) transport: Option<Transport>,
    pub(super) from: Option<String>,
    pub(super) password_file: Option<PathBuf>,
    /// `None`: gsmsend-script.
    pub(super) gsm_command: Option<Vec<OsString>>,
}

impl Ways {
    /// A relay that was given a new name is found also by the alarms that still wait for the old one.
    pub(super) fn of(message: &Message) -> Self {
        let frozen = Self {
            transport: message.transport.clone(),
            from: message.from.clone(),
            password_file: message.password_file.clone(),
            gsm_command: message.gsm_command.clone(),
        };
        let Some(settings) = settings_now(message) else { return frozen };
        Self {
            // Who wants no mail any more still gets what was raised before.
            transport: settings.mail_transport.and_then(|now| match now {
                Transport::None => frozen.transport,
                other => Some(other),
            }),
            from: settings.mail_from,
            password_file: settings.mail_password_file,
            gsm_command: settings.gsm_command,
        }
    }

    /// What has to work for a copy to arrive, other than the recipient: the same text means the same relay, program or
    /// web address.
    pub(super) fn destination(&self, recipient: &Recipient) -> String {
        match recipient {
            Recipient::Mail(_) => format!("mail {:?} {:?}", self.transport, self.password_file),
            Recipient::Gsm(_) => format!("gsm {:?}", self.gsm_command),
            Recipient::Exec(words) => format!("exec {words:?}"),
            Recipient::Webhook(address) => format!("webhook {address}"),
        }
    }
}

/// What supervise.conf says now; `None`: it can't be read, or would refuse a start.
pub(super) fn settings_now(message: &Message) -> Option<Settings> {
    let bytes = config::read(message.conf.as_ref()?).ok()?;
    let resolved = config::parse(&bytes).resolve(&message.module()?);
    (!resolved.is_refused()).then_some(resolved.settings)
}
