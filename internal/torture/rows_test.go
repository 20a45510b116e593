package torture

func rows() []row {
	return []row{
		{n: 1, name: "kill -9 of the sink", play: kills},
		{n: 2, name: "zombies", play: zombies},
		{n: 4, name: "unknown COMMIT", play: unknownCommits},
		{n: 19, name: "aborted and open transactions", play: transactions},
	}
}
