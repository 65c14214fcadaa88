"""Models that compute in float32 within: judged with that lifted on both sides; one side alone is a finding."""
