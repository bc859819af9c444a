"""The verifier inside a web framework, one module each. `import verifier` imports none of them."""
