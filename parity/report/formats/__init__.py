"""Results in the forms that CI servers and code hosts read: JUnit, SARIF, GitHub's annotations."""
