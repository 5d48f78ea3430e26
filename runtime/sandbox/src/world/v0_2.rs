//! World 0.2.0: what its plugins export, and the interfaces that it has in common with 0.1.0, which do here what they do there.
//!
//! `model` and `limits` are its own, and are capabilities of their own. Never here: a rule, or a bound.

use sortie_contract::plugin::Need;
use sortie_contract::tool::ToolName;
use wasmtime::component::Instance;

use super::Particulars;

super::exports::exports!(crate::bindings::v0_2);

/// The export that a component of this world may have.
const PROFILE: &str = "profile";

/// What a component says of its missions; nothing, where it was made before there were words for it, or says nothing.
async fn particulars(store: &mut Store<Guest>, instance: &Instance) -> wasmtime::Result<Particulars> {
    if instance.get_func(&mut *store, PROFILE).is_none() {
        return Ok(Particulars::default());
    }
    let profile = instance.get_typed_func::<(), (Particulars,)>(&mut *store, PROFILE)?;
    profile.call_async(store, ()).await.map(|(particulars,)| particulars)
}

impl From<world::Manifest> for Described {
    fn from(manifest: world::Manifest) -> Self {
        let world::Manifest { name, version, description, inputs_schema, needs } = manifest;
        let needs = needs.into_iter().map(|need| match need {
            world::Need::Model => Need::Model,
            world::Need::Tool(name) => Need::Tool(ToolName::new(&name)),
            world::Need::OneOf(names) => Need::OneOf(names.iter().map(|name| ToolName::new(name)).collect()),
        });
        let (needs, particulars) = (needs.collect(), Particulars::default());
        Self { name, version, description, inputs_schema, needs, particulars }
    }
}

/// The interfaces that 0.1.0 has, too.
pub(super) mod imports {
    use wasmtime::component::{HasData, Linker, Resource};

    use crate::bindings::v0_1::sortie::mission as old;
    use crate::bindings::v0_2::sortie::mission as new;
    use crate::capability::artifacts::{Artifacts, ArtifactsView};
    use crate::capability::human::{Human, HumanView};
    use crate::capability::report::{Report, ReportView};
    use crate::capability::time::{Time, TimeView};
    use crate::capability::tools::{Tools, ToolsView};
    use crate::guest::Guest;
    use crate::pending::Pending;

    /// There is nothing to call in it, but it is there.
    pub(in crate::world) fn types(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
        linker.instance("sortie:mission/types@0.2.0").map(drop)
    }

    macro_rules! linked {
        ($interface:ident, $has:ident, $data:ident, $view:path) => {
            struct $has;

            impl HasData for $has {
                type Data<'a> = $data<'a>;
            }

            pub(in crate::world) fn $interface(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
                new::$interface::add_to_linker::<Guest, $has>(linker, <Guest as $view>::$interface)
            }
        };
    }

    linked!(tools, HasTools, Tools, ToolsView);
    linked!(report, HasReport, Report, ReportView);
    linked!(artifacts, HasArtifacts, Artifacts, ArtifactsView);
    linked!(time, HasTime, Time, TimeView);
    linked!(human, HasHuman, Human, HumanView);

    impl new::tools::HostTool for Tools<'_> {
        fn name(&mut self, tool: Resource<new::tools::Tool>) -> wasmtime::Result<String> {
            old::tools::HostTool::name(self, tool)
        }

        fn describe(&mut self, tool: Resource<new::tools::Tool>) -> wasmtime::Result<old::types::ToolInfo> {
            old::tools::HostTool::describe(self, tool)
        }

        async fn call(
            &mut self,
            tool: Resource<new::tools::Tool>,
            arguments: String,
        ) -> wasmtime::Result<Result<String, old::types::CallError>> {
            old::tools::HostTool::call(self, tool, arguments).await
        }

        fn start(
            &mut self,
            tool: Resource<new::tools::Tool>,
            arguments: String,
        ) -> wasmtime::Result<Resource<Pending>> {
            old::tools::HostTool::start(self, tool, arguments)
        }

        fn drop(&mut self, tool: Resource<new::tools::Tool>) -> wasmtime::Result<()> {
            old::tools::HostTool::drop(self, tool)
        }
    }

    impl new::tools::HostPending for Tools<'_> {
        async fn get(&mut self, pending: Resource<Pending>) -> wasmtime::Result<Result<String, old::types::CallError>> {
            old::tools::HostPending::get(self, pending).await
        }

        async fn info(&mut self, pending: Resource<Pending>) -> wasmtime::Result<new::tools::CallInfo> {
            Ok(new::tools::CallInfo { amended: self.amended(&pending).await? })
        }

        fn drop(&mut self, pending: Resource<Pending>) -> wasmtime::Result<()> {
            old::tools::HostPending::drop(self, pending)
        }
    }

    impl new::tools::Host for Tools<'_> {
        async fn wait_any(&mut self, pending: Vec<Resource<Pending>>) -> wasmtime::Result<u32> {
            old::tools::Host::wait_any(self, pending).await
        }
    }

    impl new::report::Host for Report<'_> {
        fn milestone(&mut self, text: String) -> wasmtime::Result<()> {
            old::report::Host::milestone(self, text)
        }

        fn log(&mut self, level: new::report::Level, text: String) -> wasmtime::Result<()> {
            use new::report::Level::{Debug, Error, Info, Warn};
            use old::report::Level;
            let level = match level {
                Debug => Level::Debug,
                Info => Level::Info,
                Warn => Level::Warn,
                Error => Level::Error,
            };
            old::report::Host::log(self, level, text)
        }

        fn judge(&mut self, criterion: u32, verdict: new::report::Verdict, evidence: String) -> wasmtime::Result<()> {
            use new::report::Verdict::{Met, NotJudged, Unmet};
            use old::report::Verdict;
            let verdict = match verdict {
                Met => Verdict::Met,
                Unmet => Verdict::Unmet,
                NotJudged => Verdict::NotJudged,
            };
            old::report::Host::judge(self, criterion, verdict, evidence)
        }
    }

    impl From<old::artifacts::Artifact> for new::artifacts::Artifact {
        fn from(artifact: old::artifacts::Artifact) -> Self {
            let old::artifacts::Artifact { name, bytes, sha256 } = artifact;
            Self { name, bytes, sha256 }
        }
    }

    impl new::artifacts::Host for Artifacts<'_> {
        async fn put(
            &mut self,
            name: String,
            media_type: String,
            bytes: Vec<u8>,
        ) -> wasmtime::Result<Result<new::artifacts::Artifact, String>> {
            Ok(old::artifacts::Host::put(self, name, media_type, bytes).await?.map(Into::into))
        }

        async fn put_file(
            &mut self,
            name: String,
            media_type: String,
            path: String,
        ) -> wasmtime::Result<Result<new::artifacts::Artifact, String>> {
            Ok(old::artifacts::Host::put_file(self, name, media_type, path).await?.map(Into::into))
        }

        async fn get(&mut self, name: String) -> wasmtime::Result<Result<Vec<u8>, String>> {
            old::artifacts::Host::get(self, name).await
        }
    }

    impl new::time::Host for Time<'_> {
        fn now(&mut self) -> wasmtime::Result<u64> {
            old::time::Host::now(self)
        }

        fn after(&mut self, milliseconds: u64) -> wasmtime::Result<Resource<Pending>> {
            old::time::Host::after(self, milliseconds)
        }
    }

    impl new::human::Host for Human<'_> {
        fn ask(&mut self, question: String) -> wasmtime::Result<Resource<Pending>> {
            old::human::Host::ask(self, question)
        }
    }
}
