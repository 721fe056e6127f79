//! [`options!`](crate::options!), [`choice!`](crate::choice!) and [`parts!`](crate::parts!).

/// Defines the options of a stage.
///
/// The first paragraph of each doc comment is the help that people see. A default
/// makes an option optional; a range after it is checked. `=> free` at the end says
/// that the value has no say in the result (threads, places of caches): a resumed run
/// may have another.
///
/// ```
/// use pipeline_engine::{choice, options};
///
/// choice! {
///     /// What to do with a picture that cannot be decoded.
///     pub enum OnError {
///         /// Leave it out and write it down.
///         Skip = "skip",
///         /// End the run.
///         Stop = "stop",
///     }
/// }
///
/// options! {
///     /// Options of the stage `decode`.
///     pub struct DecodeOptions {
///         /// Threads that decode.
///         workers: usize = 2, 1..=256 => free;
///         /// What to do with a picture that cannot be decoded.
///         on_error: OnError = OnError::Skip;
///     }
/// }
/// ```
#[macro_export]
macro_rules! options {
    (
        $(#[$meta:meta])*
        pub struct $name:ident {
            $( $(#[doc = $help:literal])+ $field:ident : $type:ty $(= $default:expr $(, $range:expr)?)? $(=> $free:ident)? ; )*
        }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone)]
        pub struct $name {
            $( $(#[doc = $help])+ pub $field: $type, )*
        }

        impl $crate::Options for $name {
            fn specs() -> ::std::vec::Vec<$crate::OptionSpec> {
                ::std::vec![$(
                    {
                        #[allow(unused_mut)]
                        let mut spec = $crate::OptionSpec::of::<$type>(
                            stringify!($field),
                            concat!($($help, "\n"),+),
                            $crate::options!(@default $type $(, $default)?),
                        );
                        $($( spec = spec.within(&$range); )?)?
                        spec.free = $crate::options!(@free $($free)?);
                        spec
                    }
                ),*]
            }

            #[allow(unused_variables)]
            fn read(reader: &mut $crate::TableReader<'_>) -> ::std::option::Option<Self> {
                // Every option is read before any is missed, so that all faults show at once.
                $(
                    let $field: ::std::option::Option<$type> = reader.take(
                        stringify!($field),
                        $crate::options!(@default $type $(, $default)?),
                        $crate::options!(@check $type $($(, $range)?)?),
                    );
                )*
                ::std::option::Option::Some(Self { $( $field: $field?, )* })
            }

            fn resolved(&self) -> $crate::options::Values {
                ::std::vec![$( (stringify!($field), $crate::OptionValue::show(&self.$field)) ),*]
            }

            fn tables(&self) -> ::std::vec::Vec<(&'static str, $crate::options::Values)> {
                #[allow(unused_mut)]
                let mut tables = ::std::vec::Vec::new();
                $( tables.extend($crate::OptionValue::tables(&self.$field)); )*
                tables
            }
        }
    };
    (@free) => { false };
    (@free free) => { true };
    (@default $type:ty) => { ::std::option::Option::None };
    (@default $type:ty, $default:expr) => { ::std::option::Option::Some::<$type>($default) };
    (@check $type:ty) => { ::std::option::Option::None };
    (@check $type:ty, $range:expr) => {
        ::std::option::Option::Some(&|value: &$type| $crate::options::outside(&$range, value))
    };
}

/// Defines an option that is one of a few words.
#[macro_export]
macro_rules! choice {
    (
        $(#[$meta:meta])*
        pub enum $name:ident {
            $( $(#[doc = $help:literal])+ $variant:ident = $word:literal ),* $(,)?
        }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name {
            $( $(#[doc = $help])+ $variant, )*
        }

        impl $name {
            /// The word in `pipeline.toml`.
            pub fn word(self) -> &'static str {
                match self { $( Self::$variant => $word, )* }
            }
        }

        impl $crate::OptionValue for $name {
            fn expects() -> ::std::string::String {
                let words: &[&str] = &[$( concat!("\"", $word, "\"") ),*];
                words.join(" or ")
            }

            fn read(value: &$crate::Value) -> ::std::option::Option<Self> {
                match value {
                    $( $crate::Value::String(word) if word == $word => ::std::option::Option::Some(Self::$variant), )*
                    _ => ::std::option::Option::None,
                }
            }

            fn show(&self) -> ::std::string::String {
                ::std::format!("\"{}\"", self.word())
            }

            fn schema() -> $crate::options::Schema {
                let words: &[(&str, &str)] = &[$( ($word, concat!($($help),+)) ),*];
                $crate::options::one_of(words)
            }
        }
    };
}

/// Lists the parts of one family: the one place where an alternative is named beside its own file.
///
/// A family is a trait object. Each part is an options struct that implements
/// [`Part`](crate::Part) and the family's trait. A stage's option of type
/// [`Chosen<dyn Family>`](crate::Chosen) is then one of them, [`Several<dyn Family>`](crate::Several)
/// a list.
///
/// ```
/// use pipeline_engine::{Chosen, Part, options, parts};
///
/// pub trait Shape: Send + Sync {
///     fn area(&self) -> f64;
/// }
///
/// options! {
///     /// A square.
///     pub struct Square {
///         /// Its side.
///         side: f64 = 1.0, 0.0..=1e9;
///     }
/// }
///
/// impl Part for Square {
///     const NAME: &'static str = "square";
///     const ABOUT: &'static str = "four equal sides";
/// }
///
/// impl Shape for Square {
///     fn area(&self) -> f64 {
///         self.side * self.side
///     }
/// }
///
/// parts! {
///     dyn Shape: "shape" => [Square]
/// }
///
/// options! {
///     /// Options of a stage that draws.
///     pub struct DrawOptions {
///         /// What is drawn; its options stand in a table of its name.
///         shape: Chosen<dyn Shape> = Chosen::of("square");
///     }
/// }
/// assert_eq!(Chosen::<dyn Shape>::of("square").area(), 1.0);
/// ```
#[macro_export]
macro_rules! parts {
    (
        $(#[$meta:meta])*
        dyn $family:path : $what:literal => [ $( $(#[$each:meta])* $part:ty ),* $(,)? ]
    ) => {
        $(#[$meta])*
        impl $crate::Alternatives for dyn $family {
            const WHAT: &'static str = $what;

            fn list() -> &'static [$crate::Alternative<Self>] {
                &[$(
                    $(#[$each])*
                    $crate::Alternative {
                        name: <$part as $crate::Part>::NAME,
                        about: <$part as $crate::Part>::ABOUT,
                        specs: <$part as $crate::Options>::specs,
                        read: |reader| {
                            let part = <$part as $crate::Options>::read(reader)?;
                            let values = $crate::Options::resolved(&part);
                            ::std::option::Option::Some((values, ::std::sync::Arc::new(part)))
                        },
                    },
                )*]
            }
        }
    };
}
