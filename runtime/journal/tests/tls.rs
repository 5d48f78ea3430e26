//! TLS to the database, before a real server: a database that is known by its certificate is used, and every other one is refused with what to do,
//! and without what is secret.

#![expect(clippy::unwrap_used, reason = "a test stops where something is not as it must be")]

mod postgres_kit {
    #[allow(dead_code, reason = "the tests of the log use more of it")]
    pub(crate) mod server;
}

use std::path::Path;

use postgres_kit::server::Server;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use sortie_journal::{Claimed, Log as _, PostgresLog, Store, StoreError};

const PASSWORD: &str = "s3cret-of-the-test";

/// Who signs certificates.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    fn new(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// A certificate of a host until the end of that year, and its key.
    fn signs(&self, host: &str, until: i32) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([host.to_owned()]).unwrap();
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(until, 12, 31);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (certificate.pem(), key.serialize_pem())
    }
}

/// The database of a server, with what is said of TLS.
fn store(server: &Server, database: &str, tls: &str) -> Store {
    let url = server.url(database).replace("sortie@", &format!("sortie:{PASSWORD}@"));
    Store::at(&format!("{url}{tls}"), "n", "n")
}

/// Holds a refusal against what it is to say: which one it is, what to do, and nothing that is secret.
fn refused(case: &str, store: &Store, said: &[&str]) {
    for error in [store.look().expect_err(case), Claimed::new(store).expect_err(case)] {
        let told = format!("{error}\n{error:?}");
        assert!(!told.contains(PASSWORD), "{case}: {told}");
        for part in said {
            assert!(told.contains(part), "{case}: {told}");
        }
    }
}

fn written(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

#[test]
fn a_database_is_used_whose_certificate_is_signed_and_is_its_own_and_no_other() {
    let Some(mut server) = Server::start() else { return };
    let (ours, others) = (Authority::new("ours"), Authority::new("others"));
    let folder = tempfile::tempdir().unwrap();
    let root = written(folder.path(), "ours.pem", &ours.pem);
    let other = written(folder.path(), "others.pem", &others.pem);
    let both = written(folder.path(), "both.pem", &format!("{}{}", others.pem, ours.pem));
    let database = server.database("secured");

    // While it has no TLS.
    let insisting = format!("?sslmode=verify-full&sslrootcert={root}");
    for tls in [&*insisting, "?sslmode=require"] {
        refused(tls, &store(&server, &database, tls), &["has no TLS", "`ssl = on`", "`sslmode=disable`"]);
    }
    assert_eq!(store(&server, &database, "").migrate().unwrap().from, 0, "who does not insist goes without");

    let (certificate, key) = ours.signs("127.0.0.1", 2099);
    server.secure(&certificate, &key);
    // Of all connections that it has; nothing, where it has none.
    let secured =
        "SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE application_name = 'sortie'";
    for (tls, is_secured) in [
        (insisting.clone(), "t"),
        (format!("?sslrootcert={root}&sslmode=require"), "t"),
        (format!("?sslmode=verify-full&sslrootcert={both}"), "t"),
        ("?sslmode=disable".to_owned(), "f"),
    ] {
        let store = store(&server, &database, &tls);
        store.look().unwrap();
        // A log keeps the connection that it writes over.
        let log = PostgresLog::new(Claimed::new(&store).unwrap(), |_, _| ()).unwrap();
        log.act(tls.clone()).unwrap().wait().unwrap();
        assert_eq!(server.sql(&database, secured), is_secured, "{tls}");
        log.close().unwrap();
    }
    let what_to_do = ["not known by its certificate", "sslrootcert=FILE", "sslmode=disable"];
    for tls in ["", "?sslmode=prefer", "?sslmode=require", "?sslmode=verify-full&sslrootcert=system"] {
        refused(tls, &store(&server, &database, tls), &what_to_do);
    }
    let of_others = format!("?sslmode=verify-full&sslrootcert={other}");
    refused("others", &store(&server, &database, &of_others), &what_to_do);

    // Signed, and of another host, or of a time that is over.
    for (host, until, said) in [("db.example", 2099, "not valid for name"), ("127.0.0.1", 2021, "expired")] {
        let (certificate, key) = ours.signs(host, until);
        server.secure(&certificate, &key);
        refused(host, &store(&server, &database, &insisting), &[&what_to_do[..], &[said]].concat());
    }

    // One that signs for itself, as packages make it, is known by its own certificate.
    let key = KeyPair::generate().unwrap();
    let own = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap().self_signed(&key).unwrap().pem();
    server.secure(&own, &key.serialize_pem());
    refused("its own", &store(&server, &database, &insisting), &what_to_do);
    let known = format!("?sslmode=verify-full&sslrootcert={}", written(folder.path(), "own.pem", &own));
    store(&server, &database, &known).look().unwrap();
}

#[test]
fn authorities_that_cannot_be_read_are_named_and_not_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let text = written(folder.path(), "text", "no certificate");
    let cut = written(folder.path(), "cut", "-----BEGIN CERTIFICATE-----\nAAAA\n");
    let junk = written(folder.path(), "junk", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    let pipe = folder.path().join("pipe");
    rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::from_raw_mode(0o600)).unwrap();
    let pipe = pipe.display().to_string();
    let gone = folder.path().join("gone").display().to_string();
    // A pipe that were waited for would be waited for here.
    for path in [&text, &cut, &junk, &pipe, &gone, &folder.path().display().to_string()] {
        let url = format!("postgres://sortie:{PASSWORD}@127.0.0.1:1/d?sslmode=verify-full&sslrootcert={path}");
        let store = Store::at(&url, "n", "n");
        refused(path, &store, &["`sslrootcert`", path, "in PEM"]);
        assert!(matches!(store.look(), Err(StoreError::Roots { .. })), "{path}");
    }
}
