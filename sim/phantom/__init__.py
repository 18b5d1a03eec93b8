"""The heated breathing phantom: anatomy, breathing, bioheat, dose and MR signal, all with known truth."""
