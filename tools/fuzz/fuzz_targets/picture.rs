#![no_main]
// A caught panic of a decoder only costs its picture. The fuzzer's own hook would end it at any
// panic, so it is replaced. A panic that is not caught still ends the fuzzer.
libfuzzer_sys::fuzz_target!(init: std::panic::set_hook(Box::new(|_| {})), |data: &[u8]| fuzz_targets::picture(data));
