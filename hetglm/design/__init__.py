"""From what users pass (formula, frame, arrays) to two design matrices and row arrays."""
