//! Images by hand, for measuring and looking: `push FROM-DIR LAYOUT-DIR REFERENCE`, `pull REFERENCE STORE-DIR`.
//! `stepyard` itself pulls what a pipeline names.

use std::path::Path;
use std::time::Instant;

use image::build::Builder;
use image::{Client, Error, Platform, Reference, Settings, Store, Want};

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let start = Instant::now();
    let done = match words[..] {
        ["push", from, layout, reference] => push(from, layout, reference).await,
        ["pull", reference, store] => pull(reference, store).await,
        _ => {
            eprintln!("image push FROM-DIR LAYOUT-DIR REFERENCE | image pull REFERENCE STORE-DIR");
            std::process::exit(2);
        }
    };
    match done {
        Ok(text) => println!("{text} in {} ms", start.elapsed().as_millis()),
        Err(e) => {
            eprintln!("{e}\n{}", e.help().unwrap_or_default());
            std::process::exit(1);
        }
    }
}

async fn push(from: &str, layout: &str, reference: &str) -> Result<String, Error> {
    let Reference::Registry(name) = reference.parse()? else {
        return Ok("only into a registry".into());
    };
    let mut builder = Builder::new(layout, Platform::here())?;
    builder.layer_from_dir(Path::new(from))?;
    let built = builder.finish(None)?;
    let sent = built.push(&name, None, Settings::default()).await?;
    Ok(format!(
        "{}: {} bytes, {sent} sent",
        built.digest, built.size
    ))
}

async fn pull(reference: &str, store: &str) -> Result<String, Error> {
    let client = Client::new(Store::open(store)?, Settings::default());
    let image = client
        .ensure(&reference.parse()?, &Want::default(), &|_| ())
        .await?;
    let (layers, bytes) = (image.layers.len(), image.fetched.unwrap_or(0));
    Ok(format!(
        "{}: {layers} layers, {bytes} bytes fetched",
        image.digest.unwrap_or_default()
    ))
}
