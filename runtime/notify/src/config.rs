//! `[[notify]]`: channels, as an operator writes them, and what they come to. No value is repeated in an error: an address may be a secret.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::civil::Time;
use lettre::message::Mailbox;
use serde::Deserialize;
use sortie_contract::LaneId;
use sortie_contract::envelope::SecretRef;
use sortie_egress::header::HeaderName;
use sortie_egress::{Client, Guard, Limits, NamedSecrets, Template};
use url::{Host, Url};

use crate::channel::{Route, Webhook};
use crate::ledger::Rules;
use crate::message::Message;
use crate::news::Kind;
use crate::shape::{Shape, topic};

/// Where an operator lists the addresses that are not public, for those who are refused.
const ALLOW_PRIVATE: &str = "[[notify]] allow_private";

/// Longest name of a channel: it is part of a file's name and of a link.
const NAME_BYTES_MAX: usize = 64;

/// Most channels of a node: each has a task and a file.
pub(crate) const CHANNELS_MAX: usize = 64;

/// Most people that a letter goes to.
const RECEIVERS_MAX: usize = 50;

/// One `[[notify]]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NotifyConfig {
    /// What it is called: in links, in the API, in the name of its file.
    pub name: String,
    /// What it is told of.
    pub on: Vec<Kind>,
    /// Where a webhook is: an address, or where one is (`env://NAME`, `file:///PATH`), for many of them are secrets.
    #[serde(default)]
    pub url: Option<String>,
    /// A mail server, and who writes to whom, in the place of a webhook.
    #[serde(default)]
    pub mail: Option<MailConfig>,
    /// How messages to a webhook look.
    #[serde(default)]
    pub shape: Option<Form>,
    /// The body of a message, with `shape = "template"`.
    #[serde(default)]
    pub template: Option<String>,
    /// What such a body is.
    #[serde(default)]
    pub content_type: Option<String>,
    /// Further headers; `${secret:NAME}` in one is a secret of the node.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// Only missions of these lanes.
    #[serde(default)]
    pub lanes: Vec<String>,
    /// The interval between messages.
    #[serde(default = "five_minutes", deserialize_with = "sortie_contract::duration::deserialize")]
    pub group: Duration,
    /// The longest that the interval grows to while things go on happening.
    #[serde(default = "two_hours", deserialize_with = "sortie_contract::duration::deserialize")]
    pub group_max: Duration,
    /// When the digest comes, by the clock of the node's zone.
    #[serde(default)]
    pub at: Option<String>,
    /// Whether a message about a request has a link that decides about it without a token.
    #[serde(default)]
    pub links: bool,
    /// Whether messages have the words of missions in them, or only their names.
    #[serde(default = "yes")]
    pub texts: bool,
    /// The longest that an attempt may take.
    #[serde(default = "half_a_minute", deserialize_with = "sortie_contract::duration::deserialize")]
    pub timeout: Duration,
    /// Addresses and networks that it may be at although they are not public.
    #[serde(default)]
    pub allow_private: Vec<String>,
}

/// Its `mail`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MailConfig {
    /// The server: `HOST`, or `HOST:PORT`.
    pub server: String,
    /// How the connection is secured.
    #[serde(default)]
    pub tls: Encryption,
    /// A file of certificates (PEM) of authorities that are believed beside those of the machine, for this server alone.
    #[serde(default)]
    pub ca: Option<PathBuf>,
    /// Who it signs in as.
    #[serde(default)]
    pub user: Option<String>,
    /// With: `env://NAME` or `file:///PATH`.
    #[serde(default)]
    pub password: Option<String>,
    /// Who writes.
    pub from: String,
    /// To whom.
    pub to: Vec<String>,
}

/// How messages to a webhook look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Form {
    /// Slack's incoming webhooks.
    Slack,
    /// ntfy.
    Ntfy,
    /// All of it, for programs.
    Json,
    /// As `template` says.
    Template,
}

/// How a connection to a mail server is secured.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Encryption {
    /// Before the first word: port 465.
    Implicit,
    /// Asked for in plain text, and insisted on: port 587.
    #[default]
    Starttls,
    /// Not at all: port 25. Nobody signs in so.
    None,
}

/// What is wrong with a channel.
#[derive(Debug, thiserror::Error)]
#[error("[[notify]] `{channel}`: `{key}`: {why}")]
pub struct ConfigError {
    /// Whose.
    channel: String,
    /// Which key.
    key: &'static str,
    /// What is wrong, and what would be right.
    why: String,
}

/// A mail server, and who writes to whom.
#[derive(Debug, Clone)]
pub(crate) struct Mail {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) encryption: Encryption,
    /// See there.
    pub(crate) ca: Option<PathBuf>,
    pub(crate) user: Option<String>,
    pub(crate) password: Option<SecretRef>,
    pub(crate) from: Mailbox,
    pub(crate) to: Vec<Mailbox>,
}

/// A channel as it is meant.
#[derive(Debug)]
pub(crate) struct Meant {
    pub(crate) name: String,
    pub(crate) rules: Rules,
    pub(crate) digest_at: Time,
    pub(crate) links: bool,
    pub(crate) texts: bool,
    pub(crate) timeout: Duration,
    pub(crate) guard: Guard,
    pub(crate) route: Route,
    /// The same in a word.
    pub(crate) form: &'static str,
}

fn five_minutes() -> Duration {
    Duration::from_secs(5 * 60)
}

fn two_hours() -> Duration {
    Duration::from_secs(2 * 60 * 60)
}

fn half_a_minute() -> Duration {
    Duration::from_secs(30)
}

fn yes() -> bool {
    true
}

/// Whether these are channels, for whoever examines a configuration. Nothing is read or sent.
///
/// # Errors
/// [`ConfigError`]
pub fn examine(channels: &[NotifyConfig], secrets: &NamedSecrets, has_address: bool) -> Result<(), ConfigError> {
    all(channels, secrets, has_address).map(drop)
}

/// All channels of a node, as they are meant. Secrets that headers name are those of `secrets`; `has_address` says that links can be made.
pub(crate) fn all(
    channels: &[NotifyConfig],
    secrets: &NamedSecrets,
    has_address: bool,
) -> Result<Vec<Meant>, ConfigError> {
    let mut all: Vec<Meant> = Vec::with_capacity(channels.len());
    for channel in channels {
        let meant = channel.read(secrets)?;
        if meant.links && !has_address {
            return Err(channel.wrong("links", "a link begins with `[node] public_url`, which is not set"));
        }
        if all.iter().any(|other| other.name == meant.name) {
            return Err(channel.wrong("name", "another channel has it: each needs its own, by which its place is kept"));
        }
        all.push(meant);
        if all.len() > CHANNELS_MAX {
            return Err(channel.wrong("name", format!("a node has at most {CHANNELS_MAX} channels")));
        }
    }
    Ok(all)
}

impl NotifyConfig {
    fn wrong(&self, key: &'static str, why: impl Into<String>) -> ConfigError {
        let channel = sortie_contract::limit::clip(&self.name.escape_debug().to_string(), NAME_BYTES_MAX);
        ConfigError { channel, key, why: why.into() }
    }

    fn read(&self, secrets: &NamedSecrets) -> Result<Meant, ConfigError> {
        self.check()?;
        let lane = |lane: &String| LaneId::new(lane.as_str()).map_err(|error| self.wrong("lanes", error.to_string()));
        let rules = Rules {
            on: self.on.clone(),
            lanes: self.lanes.iter().map(lane).collect::<Result<_, _>>()?,
            group: self.group,
            group_max: self.group_max.max(self.group),
        };
        let guard = Guard::new(&self.allow_private, ALLOW_PRIVATE)
            .map_err(|error| self.wrong("allow_private", error.to_string()))?;
        let (route, form) = match (&self.url, &self.mail) {
            (Some(url), None) => (Route::Webhook(Box::new(self.webhook(url, secrets, guard.clone())?)), self.form()),
            (None, Some(mail)) => (Route::Mail(Box::new(self.letters(mail)?)), "mail"),
            _ => return Err(self.wrong("url", "name either `url`, where a webhook is, or `mail`")),
        };
        Ok(Meant {
            name: self.name.clone(),
            rules,
            digest_at: self.digest_at()?,
            links: self.links,
            texts: self.texts,
            timeout: self.timeout,
            guard,
            route,
            form,
        })
    }

    /// What the types cannot say.
    fn check(&self) -> Result<(), ConfigError> {
        let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if self.name.is_empty() || self.name.len() > NAME_BYTES_MAX || !self.name.bytes().all(is_plain) {
            return Err(
                self.wrong("name", format!("up to {NAME_BYTES_MAX} of a-z, 0-9 and `-`, such as `night-shift`"))
            );
        }
        if self.on.is_empty() {
            let all = Kind::ALL.map(Kind::as_str).join(", ");
            return Err(self.wrong("on", format!("it is told of nothing; there are {all}")));
        }
        for (key, time, least, most) in [
            ("group", self.group, 1, 24 * 3_600),
            ("group_max", self.group_max, 1, 7 * 24 * 3_600),
            ("timeout", self.timeout, 1, 300),
        ] {
            if !(Duration::from_secs(least)..=Duration::from_secs(most)).contains(&time) {
                return Err(self.wrong(key, format!("must be {least}s to {most}s")));
            }
        }
        Ok(())
    }

    fn digest_at(&self) -> Result<Time, ConfigError> {
        let text = self.at.as_deref().unwrap_or("07:00");
        let form = || self.wrong("at", "a time of the day by the clock of the node's zone, such as `07:30`");
        let (hour, minute) = text.split_once(':').ok_or_else(form)?;
        let two = |text: &str| (text.len() == 2).then(|| text.parse::<i8>().ok()).flatten();
        let (hour, minute) = two(hour).zip(two(minute)).ok_or_else(form)?;
        Time::new(hour, minute, 0, 0).map_err(|_| form())
    }

    fn form(&self) -> &'static str {
        match self.shape {
            Some(Form::Slack) => "slack",
            Some(Form::Ntfy) => "ntfy",
            Some(Form::Template) => "template",
            Some(Form::Json) | None => "json",
        }
    }

    fn webhook(&self, url: &str, secrets: &NamedSecrets, guard: Guard) -> Result<Webhook, ConfigError> {
        let address = match url.parse::<SecretRef>() {
            Ok(reference) => Err(reference),
            Err(_) => Ok(web_address(url).map_err(|why| self.wrong("url", why))?),
        };
        let shape = match (self.shape, &self.template) {
            (Some(Form::Template), Some(text)) => Shape::Template {
                text: text.clone(),
                content_type: self.content_type.clone().unwrap_or_else(|| "application/json".to_owned()),
            },
            (Some(Form::Template), None) => return Err(self.wrong("template", "`shape = \"template\"` needs one")),
            (_, Some(_)) => return Err(self.wrong("template", "it has an effect with `shape = \"template\"` alone")),
            (Some(Form::Slack), None) => Shape::Slack,
            (Some(Form::Ntfy), None) => Shape::Ntfy,
            (Some(Form::Json) | None, None) => Shape::Json,
        };
        if self.content_type.is_some() && self.template.is_none() {
            return Err(self.wrong("content_type", "it has an effect with `shape = \"template\"` alone"));
        }
        if let (Shape::Ntfy, Ok(address)) = (&shape, &address)
            && topic(address).is_none()
        {
            return Err(self.wrong("url", "of ntfy it ends with the topic, such as `https://ntfy.example/night-shift`"));
        }
        // A template that cannot be rendered is found out now, and not at three in the morning, when it would stop the channel for good.
        let somewhere = Url::parse("https://example.org/topic").expect("an address");
        for message in Message::examples() {
            let told = |why| format!("of a message `{}`: {why}", message.title);
            shape.post(&message, &somewhere).map_err(|why| self.wrong("template", told(why)))?;
        }
        let mut headers = Vec::new();
        for (name, value) in &self.headers {
            let template =
                Template::parse(value).map_err(|_| self.wrong("headers", "a secret is named as `${secret:NAME}`"))?;
            if let Ok(address) = &address {
                for name in template.names() {
                    secrets.may_go(name, address).map_err(|error| self.wrong("headers", error.to_string()))?;
                }
            }
            headers.push((self.header(name, value)?, template));
        }
        let limits = Limits { connect_timeout: self.timeout, idle_per_host: 1, decompress: false };
        Ok(Webhook { address, shape, headers, client: Arc::new(Client::new(guard, limits)) })
    }

    /// The name of a header that an operator may set.
    fn header(&self, name: &str, value: &str) -> Result<HeaderName, ConfigError> {
        let name = HeaderName::try_from(name).map_err(|_| self.wrong("headers", "there is a name that is none"))?;
        if ["host", "content-length", "transfer-encoding", "connection", "content-type"].contains(&name.as_str()) {
            return Err(self.wrong("headers", format!("`{name}` is not for you to set")));
        }
        if value.bytes().any(|byte| !(byte == b' ' || byte.is_ascii_graphic())) {
            return Err(self.wrong("headers", format!("the value of `{name}` must be one line of ASCII")));
        }
        Ok(name)
    }

    fn letters(&self, mail: &MailConfig) -> Result<Mail, ConfigError> {
        if self.shape.is_some() || self.template.is_some() || self.content_type.is_some() || !self.headers.is_empty() {
            return Err(self.wrong("mail", "`shape`, `template`, `content_type` and `headers` are of a webhook"));
        }
        let form = || self.wrong("mail.server", "a host, or a host and a port, such as `mail.example.org:587`");
        // As in an address of the web: names, and addresses of both kinds.
        let url = Url::parse(&format!("smtp://{}", mail.server)).map_err(|_| form())?;
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or_else(form)?.to_owned();
        if !matches!(url.path(), "" | "/") || url.query().is_some() || !url.username().is_empty() {
            return Err(form());
        }
        let port = url.port().unwrap_or(match mail.tls {
            Encryption::Implicit => 465,
            Encryption::Starttls => 587,
            Encryption::None => 25,
        });
        if mail.user.is_some() != mail.password.is_some() {
            return Err(self.wrong("mail.user", "`user` and `password` come together"));
        }
        if mail.user.is_some() && mail.tls == Encryption::None {
            return Err(self.wrong("mail.tls", "a password goes over TLS alone: `starttls` or `implicit`"));
        }
        if mail.ca.as_ref().is_some_and(|file| mail.tls == Encryption::None || !file.is_absolute()) {
            return Err(
                self.wrong("mail.ca", "the absolute path of a file of certificates, for `starttls` or `implicit`")
            );
        }
        let password = mail.password.as_ref().map(|reference| {
            let error =
                |error: sortie_contract::envelope::SecretRefError| self.wrong("mail.password", error.to_string());
            reference.parse::<SecretRef>().map_err(error)
        });
        let mailbox = |key: &'static str, text: &String| {
            text.parse::<Mailbox>()
                .map_err(|error| self.wrong(key, format!("an address such as `Night <night@example.org>`: {error}")))
        };
        if mail.to.is_empty() || mail.to.len() > RECEIVERS_MAX {
            return Err(self.wrong("mail.to", format!("one to {RECEIVERS_MAX} addresses")));
        }
        Ok(Mail {
            host,
            port,
            encryption: mail.tls,
            ca: mail.ca.clone(),
            user: mail.user.clone(),
            password: password.transpose()?,
            from: mailbox("mail.from", &mail.from)?,
            to: mail.to.iter().map(|to| mailbox("mail.to", to)).collect::<Result<_, _>>()?,
        })
    }
}

/// An address of a webhook.
pub(crate) fn web_address(text: &str) -> Result<Url, &'static str> {
    let form = "an address such as `https://hooks.example.org/night`, or where one is: `env://NAME` or `file:///PATH`";
    let url = Url::parse(text).map_err(|_| form)?;
    let has_host = matches!(url.host(), Some(Host::Domain(name)) if !name.is_empty())
        || matches!(url.host(), Some(Host::Ipv4(_) | Host::Ipv6(_)));
    if !matches!(url.scheme(), "http" | "https") || !has_host {
        return Err(form);
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("names and passwords do not stand in it: use `headers`");
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct File {
        notify: Vec<NotifyConfig>,
    }

    fn read(text: &str) -> Result<Vec<Meant>, String> {
        let file: File = toml::from_str(text).map_err(|error| error.to_string())?;
        let (name, reference) = ("hook".to_owned(), "env://HOOK_TOKEN".to_owned());
        let hosts = ["hooks.example.org".to_owned()];
        let secrets = NamedSecrets::new([(&name, &reference, hosts.as_slice())]).expect("a secret");
        all(&file.notify, &secrets, false).map_err(|error| error.to_string())
    }

    fn channel(rest: &str) -> String {
        format!("[[notify]]\nname = \"a\"\non = [\"failed\"]\n{rest}\n")
    }

    const URL: &str = "url = \"https://hooks.example.org/x\"\n";
    const MAIL: &str = "mail = { server = \"mail.example.org\", from = \"a@b.example\", to = [\"c@d.example\"] }\n";

    #[test]
    fn a_channel_is_read_with_what_holds_where_nothing_is_said() {
        let read = read(&(channel(URL) + &channel(MAIL).replace("\"a\"\non", "\"b\"\non"))).expect("valid");
        let [hook, letters] = read.as_slice() else { panic!("two channels") };
        assert_eq!((hook.form, letters.form), ("json", "mail"));
        assert_eq!((hook.rules.group.as_secs(), hook.rules.group_max.as_secs()), (300, 7_200));
        assert!(hook.texts && !hook.links);
        let Route::Mail(mail) = &letters.route else { panic!("mail") };
        assert_eq!((mail.host.as_str(), mail.port, mail.encryption), ("mail.example.org", 587, Encryption::Starttls));
    }

    /// What a template does for each line.
    const LINES: &str = "{% for section in sections %}{% for line in section.lines %}{{ line.name }}";
    const ENDS: &str = "{% endfor %}{% endfor %}";

    fn template(text: &str) -> String {
        channel(&format!("{URL}shape = \"template\"\ntemplate = '''{text}'''"))
    }

    #[test]
    fn a_template_holds_for_every_message() {
        let comma = "{% if ns.more %},{% endif %}{% set ns.more = true %}";
        let looped = LINES.replace("{{ line.name }}", &format!("{comma}{{{{ line }}}}"));
        for text in ["{{ title }}", &format!("{{% set ns = namespace(more=false) %}}[{looped}{ENDS}]")] {
            read(&template(text)).unwrap_or_else(|told| panic!("{text}: {told}"));
        }
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_its_key() {
        let mail = |rest: &str| {
            channel(&format!(
                "mail = {{ server = \"m.example\", from = \"a@b.example\", to = [\"c@d.example\"], {rest} }}"
            ))
        };
        for (text, expected) in [
            (channel(""), "`url`: name either"),
            (channel(&(URL.to_owned() + MAIL)), "`url`: name either"),
            (channel(URL).replace("\"a\"", "\"A b\""), "`name`"),
            (channel(URL).replace("[\"failed\"]", "[]"), "`on`: it is told of nothing; there are blocked"),
            (channel(URL).replace("\"failed\"", "\"failled\""), "failled"),
            (channel(URL) + &channel(URL), "another channel has it"),
            (channel("url = \"ftp://x.example/s3cr3t\""), "`url`: an address such as"),
            (channel("url = \"https://me:s3cr3t@x.example/\""), "use `headers`"),
            (channel("url = \"s3cr3t\""), "`url`: an address such as"),
            (channel(&format!("{URL}shape = \"slak\"")), "slak"),
            (channel(&format!("{URL}shape = \"template\"")), "`template`"),
            (channel(&format!("{URL}template = \"x\"")), "with `shape = \"template\"` alone"),
            (template("{{ x }}"), "the night`: line 1"),
            (template("[{{ sections[0].lines[0].name }}]"), "the night`: line 1"),
            (template("{\"a\": \"{{ title }}\"}"), "it makes no JSON"),
            (
                template(&format!("[{LINES}{{% if not loop.last %}},{{% endif %}}{ENDS}]")),
                "2 failed`: it makes no JSON",
            ),
            (channel("url = \"https://ntfy.example\"\nshape = \"ntfy\""), "ends with the topic"),
            (channel(&format!("{URL}headers = {{ Host = \"x\" }}")), "`host` is not for you"),
            (channel(&format!("{URL}headers = {{ X = \"a\\r\\nb\" }}")), "one line of ASCII"),
            (channel(&format!("{URL}headers = {{ X = \"${{secret:gone}}\" }}")), "[secret.gone]"),
            (channel("url = \"https://other.example/\"\nheaders = { X = \"${secret:hook}\" }"), "`headers`"),
            (channel(&format!("{URL}links = true")), "`links`: a link begins with `[node] public_url`"),
            (channel(&format!("{URL}group = \"0s\"")), "`group`: must be"),
            (channel(&format!("{URL}at = \"7:30\"")), "`at`: a time of the day"),
            (channel(&format!("{URL}at = \"24:00\"")), "`at`: a time of the day"),
            (channel(&format!("{URL}lanes = [\"\"]")), "`lanes`"),
            (channel(&format!("{URL}allow_private = [\"x\"]")), "`allow_private`"),
            (mail("user = \"u\""), "come together"),
            (mail("user = \"u\", password = \"s3cr3t\""), "`mail.password`"),
            (mail("user = \"u\", password = \"env://P\", tls = \"none\""), "over TLS alone"),
            (mail("ca = \"ca.pem\""), "the absolute path of a file of certificates"),
            (mail("ca = \"/ca.pem\", tls = \"none\""), "for `starttls` or `implicit`"),
            (mail("port = 25"), "port"),
            (channel(MAIL).replace("c@d.example", "nobody"), "`mail.to`"),
            (channel(MAIL).replace("mail.example.org", "m.example/x"), "`mail.server`"),
            (channel(&format!("{MAIL}shape = \"slack\"")), "are of a webhook"),
        ] {
            let told = read(&text).expect_err(&text);
            assert!(told.contains(expected) && !told.contains("s3cr3t"), "{text}: {told}");
        }
    }
}
