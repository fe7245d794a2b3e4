//! The two shapes of which most of the format is made: a mapping with known keys, and a word out of a list.

/// A mapping with known keys: the struct, and how it is lowered.
///
/// A field is `name: Type = "key"`, where the type is a [`Slot`](super::lower::Slot). `required` after the key makes
/// its absence an error; `flat name: Type` puts the keys of another such struct into the same mapping. `before` is
/// called with the mapping, `after` with what came of it, for what the types cannot say.
macro_rules! model {
    (
        $(#[$meta:meta])*
        $name:ident {
            $( flat $flat:ident : $flat_ty:ty; )*
            $( $(#[$field_meta:meta])+ $field:ident : $ty:ty = $key:literal $($required:ident)?; )*
        }
        $(before $before:path;)?
        $(after $after:path;)?
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq)]
        pub struct $name {
            /// Where it is written.
            pub span: syntax::Span,
            $( #[doc = concat!("The keys of [`", stringify!($flat_ty), "`], in the same mapping.")] pub $flat: $flat_ty, )*
            $( $(#[$field_meta])+ pub $field: $ty, )*
        }

        impl $name {
            /// Takes its keys out of a mapping that may have others.
            #[allow(clippy::allow_attributes, unused_variables, reason = "a struct may have no keys yet")]
            pub(crate) fn fields(
                fields: &mut $crate::model::lower::Fields<'_>,
                cx: &mut $crate::model::lower::Cx,
            ) -> Self {
                Self {
                    span: fields.span,
                    $( $flat: <$flat_ty>::fields(fields, cx), )*
                    $( $field: {
                        $( fields.$required($key, cx); )?
                        <$ty as $crate::model::lower::Slot>::take(fields, $key, cx)
                    }, )*
                }
            }
        }

        impl $crate::model::lower::Lower for $name {
            fn lower(
                node: &syntax::yaml::Node,
                name: &str,
                cx: &mut $crate::model::lower::Cx,
            ) -> Option<Self> {
                let mut fields = $crate::model::lower::Fields::of(node, name, cx)?;
                $( $before(&mut fields, cx); )?
                let lowered = Self::fields(&mut fields, cx);
                fields.finish(cx);
                $( $after(&lowered, cx); )?
                Some(lowered)
            }
        }
    };
}

/// A word out of a list, written exactly so.
macro_rules! words {
    (
        $(#[$meta:meta])*
        $name:ident { $( $(#[$word_meta:meta])* $variant:ident = $word:literal, )* }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name { $( $(#[$word_meta])* $variant, )* }

        impl $name {
            /// Every word, in the order of the reference.
            pub const WORDS: &'static [&'static str] = &[$($word),*];

            /// As it is written.
            pub const fn as_str(self) -> &'static str {
                match self { $( Self::$variant => $word, )* }
            }

            /// The value of a word.
            pub fn from_word(word: &str) -> Option<Self> {
                match word { $( $word => Some(Self::$variant), )* _ => None }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl $crate::model::lower::Lower for $name {
            fn lower(
                node: &syntax::yaml::Node,
                name: &str,
                cx: &mut $crate::model::lower::Cx,
            ) -> Option<Self> {
                let word = cx.scalar(node, name, "one word")?;
                let found = Self::from_word(word);
                if found.is_none() {
                    cx.unknown_word(node.span, name, word, Self::WORDS);
                }
                found
            }
        }
    };
}

pub(crate) use model;
pub(crate) use words;
