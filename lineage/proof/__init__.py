"""What makes the record provable: digests of sets, the signed log, and the verifier that needs no Earmark."""
