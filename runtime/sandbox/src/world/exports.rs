//! What the plugins of a world export, and how the contract's words are said in it: the same in each world so far, over types that are
//! not. A world with other exports has a file of its own.

/// Finds the exports of a component, in the words of these bindings.
macro_rules! exports {
    ($bindings:path) => {
        use futures_util::FutureExt as _;
        use futures_util::future::BoxFuture;
        use sortie_contract::limit::{MISTAKES_MAX, NOTE_BYTES_MAX, clip};
        use sortie_contract::mistake::{Mistake, Pointer};
        use sortie_contract::plugin::{Brief, Verdict};
        use wasmtime::Store;
        use wasmtime::component::{InstancePre, Resource};

        use $bindings as world;
        use $crate::guest::Guest;
        use $crate::world::{Described, Exports};

        struct Plugin(world::PluginPre<Guest>);

        pub(in crate::world) fn exports(pre: InstancePre<Guest>) -> wasmtime::Result<Box<dyn Exports>> {
            Ok(Box::new(Plugin(world::PluginPre::new(pre)?)))
        }

        impl Exports for Plugin {
            fn describe<'a>(&'a self, store: &'a mut Store<Guest>) -> BoxFuture<'a, wasmtime::Result<Described>> {
                async {
                    let instance = self.0.instance_pre().instantiate_async(&mut *store).await?;
                    let plugin = world::Plugin::new(&mut *store, &instance)?;
                    let described: Described = plugin.call_describe(&mut *store).await?.into();
                    Ok(Described { particulars: particulars(store, &instance).await?, ..described })
                }
                .boxed()
            }

            fn check<'a>(
                &'a self,
                store: &'a mut Store<Guest>,
                brief: Brief,
            ) -> BoxFuture<'a, wasmtime::Result<Vec<Mistake>>> {
                async {
                    let plugin = self.0.instantiate_async(&mut *store).await?;
                    plugin.call_check(store, &brief.into()).await.map(mistakes)
                }
                .boxed()
            }

            fn run<'a>(
                &'a self,
                store: &'a mut Store<Guest>,
                brief: Brief,
            ) -> BoxFuture<'a, wasmtime::Result<Verdict>> {
                async {
                    let plugin = self.0.instantiate_async(&mut *store).await?;
                    let handles = (0..store.data().grants.len()).filter_map(|index| u32::try_from(index).ok());
                    let tools: Vec<Resource<_>> = handles.map(Resource::new_own).collect();
                    plugin.call_run(store, &brief.into(), &tools).await.map(verdict)
                }
                .boxed()
            }
        }

        /// The mistakes that a plugin found, cut to what an answer may hold.
        fn mistakes(found: Vec<world::Mistake>) -> Vec<Mistake> {
            let found = found.into_iter().take(MISTAKES_MAX);
            found
                .map(|mistake| {
                    Mistake::new(Pointer::raw(note(mistake.pointer)), &note(mistake.code), note(mistake.detail))
                })
                .collect()
        }

        fn verdict(returned: Result<world::Outcome, world::Failure>) -> Verdict {
            match returned {
                Ok(world::Outcome { summary, next_action }) => {
                    Verdict::Done { summary: note(summary), next_action: next_action.map(note) }
                }
                Err(world::Failure { summary, tool, next_action }) => {
                    Verdict::Failed { summary: note(summary), tool: tool.map(note), next_action: next_action.map(note) }
                }
            }
        }

        fn note(text: String) -> String {
            clip(&text, NOTE_BYTES_MAX)
        }
    };
}

pub(super) use exports;
