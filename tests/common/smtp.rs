//! A small SMTP server on loopback that does what a test wants: accept, refuse at any step, stall, drip, drop.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What it does instead of its usual answer.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// Says this instead.
    Say(&'static str),
    /// Says nothing, and keeps the connection.
    Stall,
    /// A byte every so often, for ever.
    Drip,
    /// Closes the connection.
    Drop,
    /// The usual, but only after this time.
    After(Duration),
}

/// Whether and when it speaks TLS.
#[derive(Clone)]
pub(crate) enum Tls {
    None,
    /// After STARTTLS.
    Later(Arc<rustls::ServerConfig>),
    /// From the first byte.
    Implicit(Arc<rustls::ServerConfig>),
}

/// A mail that it has taken.
#[derive(Clone, Debug)]
pub(crate) struct Mail {
    pub(crate) from: String,
    pub(crate) to: Vec<String>,
    pub(crate) data: String,
    pub(crate) encrypted: bool,
    pub(crate) auth: Option<String>,
}

impl Mail {
    /// The headers, folded lines joined, in their order.
    pub(crate) fn headers(&self) -> Vec<(String, String)> {
        let head = self.data.split("\r\n\r\n").next().unwrap_or_default().replace("\r\n ", " ");
        head.split("\r\n").filter_map(|line| line.split_once(": ")).map(|(k, v)| (k.to_owned(), v.to_owned())).collect()
    }

    /// A header that is there once.
    #[track_caller]
    pub(crate) fn header(&self, name: &str) -> String {
        let headers = self.headers();
        let values: Vec<&String> = headers.iter().filter(|(key, _)| key == name).map(|(_, value)| value).collect();
        assert_eq!(values.len(), 1, "{name} in {headers:?}");
        values[0].clone()
    }

    /// The subject, with its encoded words (RFC 2047) decoded.
    pub(crate) fn subject(&self) -> String {
        let raw = self.header("Subject");
        let mut bytes = Vec::new();
        let mut was_encoded = false;
        for word in raw.split(' ') {
            let encoded = word.strip_prefix("=?utf-8?b?").and_then(|word| word.strip_suffix("?="));
            let joined = was_encoded && encoded.is_some(); // the blank between two encoded words is not text
            if !bytes.is_empty() && !joined {
                bytes.push(b' ');
            }
            was_encoded = encoded.is_some();
            match encoded {
                Some(text) => bytes.extend(base64(text)),
                None => bytes.extend(word.as_bytes()),
            }
        }
        String::from_utf8(bytes).expect("a subject is UTF-8")
    }

    /// The text, decoded.
    pub(crate) fn text(&self) -> String {
        let body = self.data.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        let bytes = match self.header("Content-Transfer-Encoding").as_str() {
            "base64" => base64(&body.replace("\r\n", "")),
            "quoted-printable" => quoted_printable(body),
            _ => body.as_bytes().to_vec(),
        };
        String::from_utf8(bytes).expect("a text is UTF-8").replace("\r\n", "\n")
    }
}

fn base64(text: &str) -> Vec<u8> {
    let (mut bits, mut count, mut out) = (0_u32, 0, Vec::new());
    for byte in text.bytes().filter(|byte| *byte != b'=') {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            _ => 63,
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push((bits >> count) as u8);
        }
    }
    out
}

fn quoted_printable(text: &str) -> Vec<u8> {
    let text = text.replace("=\r\n", "");
    let mut out = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        if byte == b'=' && after.len() >= 2 {
            let digits = std::str::from_utf8(&after[..2]).expect("digits");
            out.push(u8::from_str_radix(digits, 16).expect("digits"));
            rest = &after[2..];
        } else {
            out.push(byte);
            rest = after;
        }
    }
    out
}

type Script = dyn Fn(&str) -> Option<Answer> + Send + Sync;

/// The running server. Its threads end with the test's process.
pub(crate) struct Smtp {
    pub(crate) port: u16,
    mails: Arc<Mutex<Vec<Mail>>>,
    connections: Arc<AtomicUsize>,
    /// Now open, and most at a time.
    open: Arc<(AtomicUsize, AtomicUsize)>,
}

impl Smtp {
    /// A server that takes everything.
    pub(crate) fn start() -> Self {
        Self::with(Tls::None, |_| None)
    }

    /// A server that asks the script what to do about each line that comes: `banner` at first, then the commands, and
    /// `.` for the end of a mail.
    pub(crate) fn with(tls: Tls, script: impl Fn(&str) -> Option<Answer> + Send + Sync + 'static) -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").expect("loopback has a free port"), tls, script)
    }

    pub(crate) fn on(
        listener: TcpListener,
        tls: Tls,
        script: impl Fn(&str) -> Option<Answer> + Send + Sync + 'static,
    ) -> Self {
        let port = listener.local_addr().expect("it is bound").port();
        let server = Self { port, mails: Arc::default(), connections: Arc::default(), open: Arc::default() };
        let (mails, connections, open) =
            (Arc::clone(&server.mails), Arc::clone(&server.connections), Arc::clone(&server.open));
        let script: Arc<Script> = Arc::new(script);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                connections.fetch_add(1, Ordering::SeqCst);
                let (mails, script, tls, open) =
                    (Arc::clone(&mails), Arc::clone(&script), tls.clone(), Arc::clone(&open));
                std::thread::spawn(move || {
                    let now = open.0.fetch_add(1, Ordering::SeqCst) + 1;
                    open.1.fetch_max(now, Ordering::SeqCst);
                    let _ = converse(stream, &tls, &*script, &mails, Open(open));
                });
            }
        });
        server
    }

    pub(crate) fn mails(&self) -> Vec<Mail> {
        self.mails.lock().expect("no thread panics").clone()
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// The most connections that were open at a time.
    pub(crate) fn most_at_once(&self) -> usize {
        self.open.1.load(Ordering::SeqCst)
    }
}

/// A connection that is counted as open for as long as this lives.
struct Open(Arc<(AtomicUsize, AtomicUsize)>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::SeqCst);
    }
}

trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

fn encrypt(stream: TcpStream, config: &Arc<rustls::ServerConfig>) -> std::io::Result<Box<dyn Stream>> {
    let connection = rustls::ServerConnection::new(Arc::clone(config)).map_err(std::io::Error::other)?;
    Ok(Box::new(rustls::StreamOwned::new(connection, stream)))
}

fn converse(tcp: TcpStream, tls: &Tls, script: &Script, mails: &Mutex<Vec<Mail>>, open: Open) -> std::io::Result<()> {
    let mut open = Some(open);
    let again = tcp.try_clone()?;
    let mut encrypted = matches!(tls, Tls::Implicit(_));
    let first: Box<dyn Stream> = match tls {
        Tls::Implicit(config) => encrypt(tcp, config)?,
        Tls::None | Tls::Later(_) => Box::new(tcp),
    };
    let mut stream = BufReader::new(first);
    let mut mail = Mail { from: String::new(), to: Vec::new(), data: String::new(), encrypted, auth: None };
    let mut line = "banner".to_owned();
    loop {
        let word = line.split([' ', ':']).next().unwrap_or_default().to_ascii_uppercase();
        let usual = match word.as_str() {
            "BANNER" => "220 test\r\n",
            "EHLO" if matches!(tls, Tls::Later(_)) && !encrypted => "250-test\r\n250 STARTTLS\r\n",
            "EHLO" => "250-test\r\n250-8BITMIME\r\n250 AUTH PLAIN LOGIN\r\n",
            "STARTTLS" => "220 go on\r\n",
            "AUTH" => "235 welcome\r\n",
            "DATA" => "354 go on\r\n",
            "QUIT" => "221 bye\r\n",
            "MAIL" | "RCPT" | "." | "RSET" | "NOOP" => "250 ok\r\n",
            _ => "500 what?\r\n",
        };
        let reply = match script(&line) {
            None => usual.to_owned(),
            Some(Answer::Say(text)) => format!("{text}\r\n"),
            Some(Answer::After(time)) => {
                std::thread::sleep(time);
                usual.to_owned()
            }
            Some(Answer::Drop) => return Ok(()),
            Some(Answer::Stall) => {
                let mut rest = Vec::new();
                stream.read_to_end(&mut rest)?;
                return Ok(());
            }
            Some(Answer::Drip) => loop {
                stream.get_mut().write_all(b"2")?;
                std::thread::sleep(Duration::from_millis(100));
            },
        };
        let positive = reply.starts_with(['2', '3']);
        let path = || line.split(['<', '>']).nth(1).unwrap_or_default().to_owned();
        match word.as_str() {
            "MAIL" if positive => mail.from = path(),
            "RCPT" if positive => mail.to.push(path()),
            "AUTH" if positive => mail.auth = Some(line.clone()),
            // Before the answer: whoever has the answer finds the mail.
            "." if positive => mails.lock().expect("no thread panics").push(mail.clone()),
            _ => {}
        }
        // Before the answer, too: whoever has it may let another one connect.
        if word == "QUIT" {
            open.take();
        }
        stream.get_mut().write_all(reply.as_bytes())?;
        stream.get_mut().flush()?;
        if word == "QUIT" {
            return Ok(());
        }
        if let Tls::Later(config) = tls
            && word == "STARTTLS"
            && positive
        {
            stream = BufReader::new(encrypt(again.try_clone()?, config)?);
            encrypted = true;
            mail.encrypted = true;
        }
        if word == "DATA" && positive {
            mail.data = read_data(&mut stream)?;
            line = ".".to_owned();
            continue;
        }
        line.clear();
        if stream.read_line(&mut line)? == 0 {
            return Ok(());
        }
        line.truncate(line.trim_end().len());
    }
}

/// A mail up to its `.`, with the doubled dots taken back.
fn read_data(stream: &mut impl BufRead) -> std::io::Result<String> {
    let mut data = String::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line)? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        if line == ".\r\n" {
            return Ok(data);
        }
        data.push_str(line.strip_prefix('.').unwrap_or(&line));
    }
}

/// A certificate authority made for one test, and a server for 127.0.0.1 and localhost that it vouches for.
pub(crate) struct TestCa {
    pub(crate) pem: String,
    pub(crate) server: Arc<rustls::ServerConfig>,
}

impl TestCa {
    pub(crate) fn new() -> Self {
        use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, KeyUsagePurpose};
        let ca_key = KeyPair::generate().expect("a key");
        let mut ca = CertificateParams::new(Vec::new()).expect("parameters");
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let ca_certificate = ca.self_signed(&ca_key).expect("a certificate");
        let issuer = Issuer::from_params(&ca, &ca_key);
        let key = KeyPair::generate().expect("a key");
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let leaf = CertificateParams::new(names).expect("parameters").signed_by(&key, &issuer).expect("a certificate");
        let private = rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let server = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![leaf.der().clone()], private)
            .expect("they belong together");
        Self { pem: ca_certificate.pem(), server: Arc::new(server) }
    }
}
