module lethe.example/give_back

go 1.19
