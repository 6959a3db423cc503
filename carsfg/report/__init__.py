"""What is shown of the runs: tables and the paper's figures."""
