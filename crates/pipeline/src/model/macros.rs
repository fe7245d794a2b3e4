//! The two shapes of which most of the format is made: a mapping with known keys, and a word out of a list.

/// A mapping with known keys: the struct, and how it is lowered.
///
/// A field is `name: Type = "key"`, where the type is a [`Slot`](super::lower::Slot). `required` after the key makes
/// its absence an error; `flat name: Type` puts the keys of another such struct into the same mapping. `before` is
/// called with the mapping, `after` with what came of it, for what the types cannot say.
macro_rules! model {
    (
        $(#[doc = $doc:literal])*
        $name:ident {
            $( flat $flat:ident : $flat_ty:ty; )*
            $( $(#[doc = $field_doc:literal])+ $field:ident : $ty:ty = $key:literal $($required:ident)?; )*
        }
        $(before $before:path;)?
        $(after $after:path;)?
    ) => {
        $(#[doc = $doc])*
        #[derive(Debug, Clone, PartialEq)]
        pub struct $name {
            /// Where it is written.
            pub span: syntax::Span,
            $( #[doc = concat!("The keys of [`", stringify!($flat_ty), "`], in the same mapping.")] pub $flat: $flat_ty, )*
            $( $(#[doc = $field_doc])+ pub $field: $ty, )*
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

            fn form(forms: &mut $crate::model::form::Forms) -> $crate::model::form::Form {
                forms.object(stringify!($name), concat!($($doc),*), |forms, own| {
                    Self::keys(forms, &mut own.keys);
                })
            }
        }

        impl $name {
            /// Its keys, also as a part of another mapping.
            #[allow(clippy::allow_attributes, unused_variables, reason = "a struct may have no keys yet")]
            pub(crate) fn keys(
                forms: &mut $crate::model::form::Forms,
                keys: &mut Vec<$crate::model::form::Key>,
            ) {
                $( <$flat_ty>::keys(forms, keys); )*
                $(
                    let form = <$ty as $crate::model::lower::Slot>::form(forms);
                    keys.push($crate::model::form::Key {
                        name: $key,
                        doc: $crate::model::form::sentence(concat!($($field_doc),*)),
                        required: false $( || stringify!($required) == "required" )?,
                        form,
                    });
                )*
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

            fn form(_: &mut $crate::model::form::Forms) -> $crate::model::form::Form {
                $crate::model::form::Form::Words(Self::WORDS.to_vec())
            }
        }
    };
}

pub(crate) use model;
pub(crate) use words;
