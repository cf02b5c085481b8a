//! Functions beyond the four operations.
pub(crate) fn exp(x: f32) -> f32 {
    libm::expf(x)
}
pub(crate) fn ln(x: f32) -> f32 {
    libm::logf(x)
}
pub(crate) fn tanh(x: f32) -> f32 {
    libm::tanhf(x)
}
pub(crate) fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}
