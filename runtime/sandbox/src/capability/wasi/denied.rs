//! Files and sockets: interfaces that C libraries import whether a program uses them or not. They are there, so that such a program can be
//! linked, and nothing comes of them.
//!
//! No folder is given and no socket is made, so nobody has a handle to call the rest with: it has a name, and traps.

use wasmtime::component::{Linker, LinkerInstance, ResourceType, Val};

use super::io::Never;

/// The name of a function, and what it answers.
type Answered = (&'static str, fn() -> Val);

/// An interface that is refused.
pub(crate) struct Denied {
    /// As in WIT, without a version.
    pub(crate) name: &'static str,
    resources: &'static [&'static str],
    /// What can be called without a handle, and what it answers.
    functions: &'static [Answered],
    /// What cannot.
    methods: &'static [&'static str],
}

/// The version whose functions these are; components of any 0.2 are linked to it.
const VERSION: &str = "0.2.12";

pub(crate) const FILES: Denied = Denied {
    name: "wasi:filesystem/types",
    resources: &["descriptor", "directory-entry-stream"],
    functions: &[],
    methods: &[
        "[method]descriptor.read-via-stream",
        "[method]descriptor.write-via-stream",
        "[method]descriptor.append-via-stream",
        "[method]descriptor.advise",
        "[method]descriptor.sync-data",
        "[method]descriptor.get-flags",
        "[method]descriptor.get-type",
        "[method]descriptor.set-size",
        "[method]descriptor.set-times",
        "[method]descriptor.read",
        "[method]descriptor.write",
        "[method]descriptor.read-directory",
        "[method]descriptor.sync",
        "[method]descriptor.create-directory-at",
        "[method]descriptor.stat",
        "[method]descriptor.stat-at",
        "[method]descriptor.set-times-at",
        "[method]descriptor.link-at",
        "[method]descriptor.open-at",
        "[method]descriptor.readlink-at",
        "[method]descriptor.remove-directory-at",
        "[method]descriptor.rename-at",
        "[method]descriptor.symlink-at",
        "[method]descriptor.unlink-file-at",
        "[method]descriptor.is-same-object",
        "[method]descriptor.metadata-hash",
        "[method]descriptor.metadata-hash-at",
        "[method]directory-entry-stream.read-directory-entry",
        // It takes an error of a stream, and streams have none here but their end.
        "filesystem-error-code",
    ],
};

pub(crate) const FOLDERS: Denied = Denied {
    name: "wasi:filesystem/preopens",
    resources: &[],
    functions: &[("get-directories", || Val::List(Vec::new()))],
    methods: &[],
};

pub(crate) const TCP: Denied = Denied {
    name: "wasi:sockets/tcp",
    resources: &["tcp-socket"],
    functions: &[],
    methods: &[
        "[method]tcp-socket.start-bind",
        "[method]tcp-socket.finish-bind",
        "[method]tcp-socket.start-connect",
        "[method]tcp-socket.finish-connect",
        "[method]tcp-socket.start-listen",
        "[method]tcp-socket.finish-listen",
        "[method]tcp-socket.accept",
        "[method]tcp-socket.local-address",
        "[method]tcp-socket.remote-address",
        "[method]tcp-socket.is-listening",
        "[method]tcp-socket.address-family",
        "[method]tcp-socket.set-listen-backlog-size",
        "[method]tcp-socket.keep-alive-enabled",
        "[method]tcp-socket.set-keep-alive-enabled",
        "[method]tcp-socket.keep-alive-idle-time",
        "[method]tcp-socket.set-keep-alive-idle-time",
        "[method]tcp-socket.keep-alive-interval",
        "[method]tcp-socket.set-keep-alive-interval",
        "[method]tcp-socket.keep-alive-count",
        "[method]tcp-socket.set-keep-alive-count",
        "[method]tcp-socket.hop-limit",
        "[method]tcp-socket.set-hop-limit",
        "[method]tcp-socket.receive-buffer-size",
        "[method]tcp-socket.set-receive-buffer-size",
        "[method]tcp-socket.send-buffer-size",
        "[method]tcp-socket.set-send-buffer-size",
        "[method]tcp-socket.subscribe",
        "[method]tcp-socket.shutdown",
    ],
};

pub(crate) const TCP_CREATE: Denied = Denied {
    name: "wasi:sockets/tcp-create-socket",
    resources: &[],
    functions: &[("create-tcp-socket", access_denied)],
    methods: &[],
};

pub(crate) const UDP: Denied = Denied {
    name: "wasi:sockets/udp",
    resources: &["udp-socket", "incoming-datagram-stream", "outgoing-datagram-stream"],
    functions: &[],
    methods: &[
        "[method]udp-socket.start-bind",
        "[method]udp-socket.finish-bind",
        "[method]udp-socket.stream",
        "[method]udp-socket.local-address",
        "[method]udp-socket.remote-address",
        "[method]udp-socket.address-family",
        "[method]udp-socket.unicast-hop-limit",
        "[method]udp-socket.set-unicast-hop-limit",
        "[method]udp-socket.receive-buffer-size",
        "[method]udp-socket.set-receive-buffer-size",
        "[method]udp-socket.send-buffer-size",
        "[method]udp-socket.set-send-buffer-size",
        "[method]udp-socket.subscribe",
        "[method]incoming-datagram-stream.receive",
        "[method]incoming-datagram-stream.subscribe",
        "[method]outgoing-datagram-stream.check-send",
        "[method]outgoing-datagram-stream.send",
        "[method]outgoing-datagram-stream.subscribe",
    ],
};

pub(crate) const UDP_CREATE: Denied = Denied {
    name: "wasi:sockets/udp-create-socket",
    resources: &[],
    functions: &[("create-udp-socket", access_denied)],
    methods: &[],
};

impl Denied {
    /// Adds the interface to a linker.
    pub(crate) fn add_to_linker<T: 'static>(&'static self, linker: &mut Linker<T>) -> wasmtime::Result<()> {
        let mut instance: LinkerInstance<'_, T> = linker.instance(&format!("{}@{VERSION}", self.name))?;
        for resource in self.resources {
            instance.resource(resource, ResourceType::host::<Never>(), |_, _| Ok(()))?;
        }
        for (name, answer) in self.functions {
            instance.func_new(name, move |_, _, _, results| {
                results[0] = answer();
                Ok(())
            })?;
        }
        for name in self.methods {
            instance.func_new(name, move |_, _, _, _| {
                Err(wasmtime::Error::msg(format!("`{name}` of a handle that the node never gave")))
            })?;
        }
        Ok(())
    }
}

fn access_denied() -> Val {
    Val::Result(Err(Some(Box::new(Val::Enum("access-denied".to_owned())))))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lists say what the WIT says: a component that imports a function more could not be linked.
    #[test]
    fn each_interface_has_the_functions_of_its_wit() {
        let wit = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("wasi");
        let mut resolve = wit_parser::Resolve::default();
        resolve.push_dir(wit).unwrap();
        for denied in [FILES, FOLDERS, TCP, TCP_CREATE, UDP, UDP_CREATE] {
            let versioned = format!("{}@{VERSION}", denied.name);
            let (_, interface) = resolve
                .interfaces
                .iter()
                .find(|(id, _)| resolve.id_of(*id).is_some_and(|id| id == versioned))
                .unwrap_or_else(|| panic!("there is no {versioned}"));
            let mut told: Vec<&str> = denied.functions.iter().map(|(name, _)| *name).collect();
            told.extend(denied.methods);
            told.sort_unstable();
            let mut there: Vec<&str> = interface.functions.keys().map(String::as_str).collect();
            there.sort_unstable();
            assert_eq!(told, there, "{versioned}");
            let is_resource =
                |id: &&wit_parser::TypeId| matches!(resolve.types[**id].kind, wit_parser::TypeDefKind::Resource);
            let resources = interface.types.iter().filter(|(_, id)| is_resource(id)).map(|(name, _)| name.as_str());
            assert_eq!(denied.resources.to_vec(), resources.collect::<Vec<_>>(), "{versioned}");
        }
    }
}
