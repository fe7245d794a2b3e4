//! `Http`: a request, by the delegate.

use syntax::Spanned;

use super::super::macros::model;
use super::super::param::Param;
use super::super::variable::Variable;

model! {
    /// `spec` of an Http step.
    Http {
        /// Where to.
        url: Option<Param<String>> = "url" required;
        /// `GET`, `POST`, …
        method: Option<Param<String>> = "method" required;
        /// Its headers.
        headers: Vec<Header> = "headers";
        /// Its body.
        body: Option<Param<String>> = "requestBody";
        /// An expression over the answer: whether the step succeeds.
        assertion: Option<Param<String>> = "assertion";
        /// `<+spec.inputVariables.X>` of older texts.
        inputs: Option<Param<Vec<Variable>>> = "inputVariables";
        /// What later steps may read: expressions over the answer.
        outputs: Option<Param<Vec<Variable>>> = "outputVariables";
        /// A certificate of the client, PEM.
        certificate: Option<Param<String>> = "certificate";
        /// Its key, PEM.
        certificate_key: Option<Param<String>> = "certificateKey";
        /// The delegates that may send it.
        delegate_selectors: Option<Param<Vec<Param<String>>>> = "delegateSelectors";
    }
}

model! {
    /// One of `headers`.
    Header {
        /// Its name.
        key: Option<Spanned<String>> = "key" required;
        /// Its value.
        value: Option<Param<String>> = "value";
    }
}
