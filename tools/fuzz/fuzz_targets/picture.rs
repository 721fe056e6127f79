#![no_main]
// A panic inside a decoder is caught and costs its picture; the hook that ends the fuzzer at
// any panic would not let it get so far. One that is not caught still ends it.
libfuzzer_sys::fuzz_target!(init: std::panic::set_hook(Box::new(|_| {})), |data: &[u8]| fuzz_targets::picture(data));
