//! Everything that was read for one command: the pipeline's file with its further documents, and the files of `--entities`.

use std::path::{Path, PathBuf};

use pipeline::model::{self, Entities, Options, Pipeline, SecretValue};
use syntax::{Diagnostic, SourceId, Sources, Span, Spanned};

use crate::inputs::Given;
use crate::problem::Problem;
use crate::texts;

/// What was read.
#[derive(Debug, Default)]
pub(crate) struct Documents {
    /// Every text.
    pub(crate) sources: Sources,
    /// The pipeline's text first, then those of the entities, then the inputs.
    pub(crate) ids: Vec<SourceId>,
    /// The pipeline.
    pub(crate) pipeline: Option<Pipeline>,
    /// Connectors, secrets and the like.
    pub(crate) entities: Entities,
    /// Secrets that its expressions refer to.
    pub(crate) secrets: Vec<Spanned<String>>,
    /// What is wrong, in the order of the texts.
    pub(crate) diagnostics: Vec<Diagnostic>,
}

impl Documents {
    /// Reads the pipeline's file and the directories of entities.
    pub(crate) fn read(
        pipeline: &Path,
        entities: &[PathBuf],
        given: Option<&Given>,
    ) -> Result<Self, Problem> {
        let mut documents = Self::default();
        documents.file(pipeline)?;
        let main = std::fs::canonicalize(pipeline).ok();
        for dir in entities {
            for file in texts::yaml_files(dir)? {
                // The pipeline may lie among its entities, with other ones.
                if std::fs::canonicalize(&file).ok() != main && !holds_pipeline(&file) {
                    documents.file(&file)?;
                }
            }
        }
        let inputs = given.map_or(&[][..], |given| &given.paths);
        let before = documents.ids.len();
        for file in inputs {
            documents.file(file)?;
        }
        documents.load(before, given)?;
        Ok(documents)
    }

    /// Reads texts that were kept with a run: the pipeline and its entities, then the inputs.
    pub(crate) fn of(
        texts: Vec<(String, String)>,
        inputs: Vec<(String, String)>,
        given: &Given,
    ) -> Result<Self, Problem> {
        let mut documents = Self::default();
        let before = texts.len();
        for (name, text) in texts.into_iter().chain(inputs) {
            let id = documents.sources.add(name, text);
            documents.ids.push(id);
        }
        documents.load(before, Some(given))?;
        Ok(documents)
    }

    fn file(&mut self, path: &Path) -> Result<(), Problem> {
        match texts::read(path, &mut self.sources)? {
            Ok(id) => self.ids.push(id),
            Err(diagnostic) => self.diagnostics.push(diagnostic),
        }
        Ok(())
    }

    /// Lowers the documents of the first `before` texts; the others are inputs.
    fn load(&mut self, before: usize, given: Option<&Given>) -> Result<(), Problem> {
        let mut documents = Vec::new();
        let mut inputs = Vec::new();
        for (at, id) in self.ids.iter().enumerate() {
            let parsed = syntax::yaml::parse(&self.sources, *id);
            self.diagnostics.extend(parsed.diagnostics);
            if at < before {
                documents.extend(parsed.documents);
            } else {
                inputs.extend(parsed.documents);
            }
        }
        let (mut documents, more) = model::expand(documents);
        self.diagnostics.extend(more);
        if let Some(given) = given {
            let pipeline = documents
                .iter()
                .position(|document| model::tree::get(document, "pipeline").is_some());
            if let Some(at) = pipeline {
                let mut own = documents[at].clone();
                let more = given.apply(&mut own, &documents, &inputs, &self.sources)?;
                documents[at] = own;
                self.diagnostics.extend(more);
            }
        }
        let loaded = model::load(&documents, Options::default());
        self.pipeline = loaded.pipeline;
        self.entities = loaded.entities;
        self.secrets = loaded.secrets;
        self.diagnostics.extend(loaded.diagnostics);
        syntax::diagnostic::sort(&mut self.diagnostics);
        Ok(())
    }

    /// Tells the warnings; errors end the command.
    pub(crate) fn pipeline(&self) -> Result<&Pipeline, Problem> {
        self.pipeline_and(Vec::new())
    }

    /// The same, with what else is wrong.
    pub(crate) fn pipeline_and(&self, more: Vec<Diagnostic>) -> Result<&Pipeline, Problem> {
        // What other servers would refuse is no news to somebody who runs it here; `validate` tells it.
        let here = |d: &Diagnostic| d.is_error() || !d.code.as_str().starts_with("SY04");
        let all = self.diagnostics.iter().cloned().chain(more);
        let mut told: Vec<_> = all.filter(here).collect();
        syntax::diagnostic::sort(&mut told);
        texts::tell(&told, &self.sources);
        let errors = told.iter().filter(|d| d.is_error()).count();
        if errors > 0 {
            let count = crate::screen::words::count(errors as u64, "error");
            return Err(Problem::invalid(format!("{count}; nothing was run"))
                .help("`stepyard explain CODE` tells more of each")
                .diagnostics(texts::reports(&told, &self.sources)));
        }
        let name = self
            .ids
            .first()
            .map_or("the file", |id| self.sources.get(*id).name());
        self.pipeline.as_ref().ok_or_else(|| {
            Problem::invalid(format!("{name} holds no pipeline")).help("its root is `pipeline:`")
        })
    }

    /// Where values of secrets stand: they are left out of what is stored.
    pub(crate) fn redact(&self) -> Vec<Span> {
        let secrets = self.entities.secrets.iter();
        secrets
            .filter_map(|secret| match &secret.value {
                SecretValue::Inline(value) => Some(value.span),
                _ => None,
            })
            .collect()
    }
}

/// A file of another pipeline beside the entities; it is none of them.
fn holds_pipeline(path: &Path) -> bool {
    std::fs::read_to_string(path)
        .is_ok_and(|text| text.lines().any(|line| line.starts_with("pipeline:")))
}
