-- Sets the blocks of the report's Markdown: as calls of Typst's functions, or as HTML. Quarto and pandoc both run it.
local is_typst, is_html = FORMAT == "typst", FORMAT:match("html") ~= nil
if not is_typst and not is_html then return {} end

local SET_BY_TEMPLATE = { masthead = true, facts = true, ["key-figure"] = true, summary = true, remark = true, advice = true, small = true, whole = true, lead = true }

local function raw(text) return pandoc.RawBlock(FORMAT, text) end

local function wrapped(before, blocks, after)
  local result = pandoc.Blocks({ raw(before) })
  result:extend(blocks)
  result:insert(raw(after))
  return result
end

local function quoted(text) return '"' .. text:gsub("[\\\"]", "\\%0") .. '"' end

local function attribute(text)
  return '"' .. text:gsub("[&<>\"]", { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;" }) .. '"'
end

-- A table of up to so many rows stays on one page.
local MAX_WHOLE_ROWS = 15
-- A table of more columns is wider than a phone.
local MAX_NARROW_COLUMNS = 4

-- Beside each value stands the title of its column: on a phone each row is a block of its own.
local function label_cells(tbl)
  local titles = {}
  for i, cell in ipairs(tbl.head.rows[1].cells) do titles[i] = pandoc.utils.stringify(cell.contents) end
  for _, row in ipairs(tbl.bodies[1].body) do
    for i, cell in ipairs(row.cells) do cell.attr.attributes["data-label"] = titles[i] end
  end
end

-- Words of more characters may break in a cell of the PDF, which would else lie over its neighbour.
local MAX_WORD, HYPHEN = 16, 45

local function breakable(word)
  if (utf8.len(word.text) or 0) <= MAX_WORD then return nil end
  local parts, part, count = pandoc.Inlines({}), "", 0
  for _, code in utf8.codes(word.text) do
    if count > 0 and count % MAX_WORD == 0 then
      -- An empty box, at which lines break. A space without width would come into the text that people search and copy.
      parts:extend({ pandoc.Str(part), pandoc.RawInline("typst", "#box()") })
      part = ""
    end
    part, count = part .. utf8.char(code), code == HYPHEN and 0 or count + 1 -- lines break there anyway
  end
  parts:insert(pandoc.Str(part))
  return parts
end

-- Tables first. Their columns are as wide as the block around them says, in hundredths of the text's width.
local tables = {
  Div = function(div)
    if not div.attributes.widths then return nil end
    local widths, is_short = {}, true
    for width in div.attributes.widths:gmatch("%d+") do widths[#widths + 1] = tonumber(width) / 100 end
    div.attributes.widths = nil
    local result = div:walk({
      Table = function(tbl)
        is_short = #tbl.bodies[1].body <= MAX_WHOLE_ROWS
        for i, spec in ipairs(tbl.colspecs) do tbl.colspecs[i] = { spec[1], widths[i] } end
        if is_typst then
          tbl.classes:insert("typst:no-figure") -- in a figure it would not break over pages
          tbl = tbl:walk({ Str = breakable })
        end
        if is_html and #widths > MAX_NARROW_COLUMNS then label_cells(tbl) end
        return tbl
      end,
    })
    if is_typst then result.classes = { is_short and "whole" or "long" } end
    if is_html and #widths > MAX_NARROW_COLUMNS then result.classes:insert("wide") end
    return result
  end,
}

-- The title and the place are names that people wrote, in large letters.
local mastheads = {
  Div = function(div)
    if is_typst and div.classes[1] == "masthead" then return div:walk({ Str = breakable }) end
  end,
}

-- Then the one function that takes many blocks, while they are still separate blocks.
local key_figures = {
  Div = function(div)
    if not is_typst or div.classes[1] ~= "key-figures" then return nil end
    local result = pandoc.Blocks({ raw("#key-figures(") })
    for _, figure in ipairs(div.content) do result:extend(wrapped("[", { figure }, "],")) end
    result:insert(raw(")"))
    return result
  end,
}

-- A figure's SVG becomes a part of the page, whose fonts and width it takes.
local function drawing(image)
  local file = assert(io.open(image.src, "r"))
  local svg = file:read("a")
  file:close()
  svg = svg:gsub("^.-(<svg)", "%1", 1):gsub("'Inter'", "Inter, Noto Sans Devanagari, Droid Sans Fallback, system-ui, sans-serif")
  return (svg:gsub("<svg ", "<svg role=\"img\" aria-label=" .. attribute(image.attributes["fig-alt"]) .. " ", 1))
end

-- Typst takes a number with a dot at the start of a text for an item of a list.
local numbers = {
  Inlines = function(inlines)
    local first = inlines[1]
    if not is_typst or not first or first.t ~= "Str" or not first.text:match("^%d+%.$") then return nil end
    inlines:insert(1, pandoc.RawInline("typst", "#[]"))
    return inlines
  end,
}

-- What leads to a table or a figure stays on its page.
local leads = {
  Blocks = function(blocks)
    if not is_typst then return nil end
    for i = #blocks - 1, 1, -1 do
      local block, following = blocks[i], blocks[i + 1]
      local leads_on = following.t == "Figure" or following.t == "Table"
        or (following.t == "Div" and (following.classes[1] == "long" or following.classes[1] == "whole"))
      if block.t == "Para" and leads_on then blocks[i] = pandoc.Div({ block }, pandoc.Attr("", { "lead" })) end
    end
    return blocks
  end,
}

-- Before a long table: its head never stands at the foot of a page with hardly a row below it.
local ROOM = "#block(breakable: false, above: 0pt, below: 0pt, height: 38mm)#v(-38mm)"

local others = {
  Div = function(div)
    if is_html then return nil end
    local name = div.classes[1]
    if name == "long" then
      local result = pandoc.Blocks({ raw(ROOM) })
      result:extend(div.content)
      return result
    end
    if SET_BY_TEMPLATE[name] then return wrapped("#" .. name .. "[", div.content, "]") end
  end,
  Figure = function(figure)
    local image
    figure:walk({ Image = function(found) image = found end })
    if is_html then
      if not image.src:match("^figures/[%w_]+%.svg$") then return nil end
      local before = "<figure>" .. drawing(image) .. "<figcaption>"
      return wrapped(before, figure.caption.long, "</figcaption></figure>")
    end
    local start = "#figure(image(" .. quoted(image.src) .. ", width: 100%, alt: "
      .. quoted(image.attributes["fig-alt"]) .. "), caption: ["
    return wrapped(start, figure.caption.long, "])")
  end,
}

return { tables, mastheads, key_figures, numbers, leads, others }
