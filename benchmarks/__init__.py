"""What Jackfield costs: `python -m benchmarks` measures it from outside, other modules single parts."""
