-- Has Neovim's own client speak to `stepyard lsp` about the file that is open, as docs/editors.md sets it up, and writes what a person
-- would see to $OUT as JSON.
local config = { name = "stepyard", cmd = { vim.env.STEPYARD, "lsp" }, root_dir = vim.fn.getcwd() }
local id
if vim.lsp.start then
  id = vim.lsp.start(config)
else -- before Neovim 0.8
  id = vim.lsp.start_client(config)
  vim.lsp.buf_attach_client(0, id)
end

local seen = {}
local function wait(what, holds)
  if not vim.wait(60000, holds, 20) then
    seen.missing = what
    vim.fn.writefile({ vim.fn.json_encode(seen) }, vim.env.OUT)
    vim.cmd("cquit 1")
  end
end

-- The cursor before or on the first place of a text; the line and the column are Neovim's.
local function go(text, past)
  for number, line in ipairs(vim.api.nvim_buf_get_lines(0, 0, -1, true)) do
    local from, to = line:find(text, 1, true)
    if from then
      vim.api.nvim_win_set_cursor(0, { number, past and to or from - 1 })
      return number, to
    end
  end
  error("no line holds " .. text)
end

wait("diagnostics", function()
  return #vim.diagnostic.get(0) > 0
end)
seen.diagnostics = {}
for _, own in ipairs(vim.diagnostic.get(0)) do
  table.insert(seen.diagnostics, { line = own.lnum + 1, column = own.col + 1, message = own.message, severity = own.severity })
end

-- As CTRL-X CTRL-O does it.
vim.bo.omnifunc = "v:lua.vim.lsp.omnifunc"
local function complete(text)
  local number, to = go(text, true)
  local params = vim.lsp.util.make_position_params(0, "utf-16")
  params.position = { line = number - 1, character = to }
  local words = {}
  wait("completion after " .. text, function()
    local answers = vim.lsp.buf_request_sync(0, "textDocument/completion", params, 30000)
    local answer = answers and answers[id] and answers[id].result
    for _, item in ipairs(answer and (answer.items or answer) or {}) do
      table.insert(words, item.label)
    end
    return #words > 0
  end)
  return words
end
seen.types = complete("type: Ru")
seen.paths = complete("<+pipeline.")

go("shell: Sh")
vim.lsp.buf.hover()
local float
wait("a hover text", function()
  for _, window in ipairs(vim.api.nvim_list_wins()) do
    if vim.api.nvim_win_get_config(window).relative ~= "" then
      float = window
      return true
    end
  end
end)
seen.hover = vim.api.nvim_buf_get_lines(vim.api.nvim_win_get_buf(float), 0, -1, true)
vim.fn.writefile({ vim.fn.json_encode(seen) }, vim.env.OUT)
vim.cmd("qall!")
