package docs

// Runbook is where a heading of runbook.md is read: the reason of a halted partition, or the name of an alert, in lower case.
func Runbook(heading string) string {
	return "https://github.com/oncesink/oncesink/blob/main/docs/runbook.md#" + heading
}
